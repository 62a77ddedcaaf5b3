/* Softmax micro-kernels of one instruction set and dtype. */
#ifndef FL_SOFTMAX_UKERNELS_H
#define FL_SOFTMAX_UKERNELS_H

#include "fl_types.h"

typedef struct {
    /* y = exp(x - max x) / sum of exp(x - max x) in every row; columns > 0 */
    void (*forward)(ptrdiff_t rows, ptrdiff_t columns, const fl_real *x, fl_real *y);
    /* dx = y (dy - sum of dy y) in every row */
    void (*backward)(ptrdiff_t rows, ptrdiff_t columns, const fl_real *dy, const fl_real *y, fl_real *dx);
} fl_softmax_ukernels;

FL_DECLARE_ROWS(fl_softmax_ukernels, softmax);

#endif
