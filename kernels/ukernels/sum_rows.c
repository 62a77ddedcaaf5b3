/* Column sums of a matrix: a few vectors of columns at a time, so that sums stay in registers. */
#include "sum_rows_ukernels.h"

#include "varray.h"

enum { WIDTH = 4 }; /* vectors side by side: their additions overlap */

#define UNROLL _Pragma("GCC unroll 4")

FL_INLINE void add_columns(ptrdiff_t rows, const int vectors, ptrdiff_t n, const fl_real *x, ptrdiff_t step, fl_real *sums) {
    vreal sum[WIDTH];
    UNROLL for (int v = 0; v < vectors; v++) sum[v] = vload_next(sums + v * VL, n - v * VL);
    for (ptrdiff_t i = 0; i < rows; i++, x += step) {
        UNROLL for (int v = 0; v < vectors; v++) sum[v] += vload_next(x + v * VL, n - v * VL);
    }
    UNROLL for (int v = 0; v < vectors; v++) vstore_next(sums + v * VL, sum[v], n - v * VL);
}

static void add(ptrdiff_t rows, ptrdiff_t n, const fl_real *x, ptrdiff_t step, fl_real *sums) {
    ptrdiff_t j = 0;
    for (; j + WIDTH * VL <= n; j += WIDTH * VL) add_columns(rows, WIDTH, WIDTH * VL, x + j, step, sums + j);
    for (; j + 2 * VL <= n; j += 2 * VL) add_columns(rows, 2, 2 * VL, x + j, step, sums + j);
    for (; j < n; j += VL) add_columns(rows, 1, FL_MIN(VL, n - j), x + j, step, sums + j);
}

const fl_sum_rows_ukernels FL_UK(sum_rows) = {.add = add};
