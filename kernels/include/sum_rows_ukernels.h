/* Column sums of a matrix, for one instruction set and dtype. */
#ifndef FL_SUM_ROWS_UKERNELS_H
#define FL_SUM_ROWS_UKERNELS_H

#include "fl_types.h"

/* sums[j] += sum_i x[i * step + j], i < rows in order, j < n */
typedef struct {
    void (*add)(ptrdiff_t rows, ptrdiff_t n, const fl_real *x, ptrdiff_t step, fl_real *sums);
} fl_sum_rows_ukernels;

FL_DECLARE_ROWS(fl_sum_rows_ukernels, sum_rows);

#endif
