/* Element-wise functions of two arrays, of one instruction set and dtype. */
#ifndef FL_MERGE_UKERNELS_H
#define FL_MERGE_UKERNELS_H

#include "fl_types.h"

/* y[i] = a[i] o b[i]; y may be a or b. */
typedef void fl_merge_ukernel(ptrdiff_t n, const fl_real *a, const fl_real *b, fl_real *y);

typedef struct {
    fl_merge_ukernel *add, *multiply;
} fl_merge_ukernels;

FL_DECLARE_ROWS(fl_merge_ukernels, merge);

#endif
