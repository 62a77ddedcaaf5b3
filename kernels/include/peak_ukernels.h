/* As many multiply-adds as the registers of one instruction set take. */
#ifndef FL_PEAK_UKERNELS_H
#define FL_PEAK_UKERNELS_H

#include "fl_types.h"

typedef struct {
    ptrdiff_t flops; /* of one round */
    fl_real (*multiply_adds)(ptrdiff_t rounds, fl_real a, fl_real b);
} fl_peak_ukernels;

FL_DECLARE_ROWS(fl_peak_ukernels, peak);

#endif
