/* Column sums of a matrix: the bias gradient. */
#ifndef FL_SUM_ROWS_H
#define FL_SUM_ROWS_H

#include "fl_types.h"

/* sums[j] = sum_i x[i * n + j], i < rows, in slices that depend on the sizes alone; FL_OK or FL_ENOMEM */
int FL(sum_rows)(ptrdiff_t rows, ptrdiff_t n, const fl_real *x, fl_real *sums, int isa, int threads);

#endif
