/* Dense products over few rows, for one instruction set and dtype: weights are read once, in long runs, as they stand.
 *
 * An element's bits do not depend on its place in the array, nor on how a caller cuts up the other elements. */
#ifndef FL_SKINNY_UKERNELS_H
#define FL_SKINNY_UKERNELS_H

#include "fl_types.h"

enum {
    FL_SKINNY_ROWS = 32,  /* rows of y at most, in one call of `rows` */
    FL_SKINNY_OUTER = 2,  /* rows of x and dy at most, in one call of `outer` */
};

typedef struct {
    /* y(m, j) = sum over k, in order, of x(m, k) w(k, j),   m < rows <= FL_SKINNY_ROWS, j < n; y_row is a multiple of `lanes`
     * and at least n + lanes - 1, for what lies in y beyond n is undefined.  Vectors are aligned in y. */
    void (*rows)(ptrdiff_t rows, ptrdiff_t k, ptrdiff_t n, const fl_real *x, ptrdiff_t x_row, const fl_real *w,
                 ptrdiff_t w_row, fl_real *y, ptrdiff_t y_row);

    /* y[j] = f(sums[j] + bias[j]); bias may be NULL */
    void (*finish)(ptrdiff_t n, const fl_real *sums, const fl_real *bias, fl_real *y, int activation, fl_real alpha);

    /* dx(m, i) = [ dx(m, i) + ] sum over j < n of dy(m, j) w(i, j),   m < rows, i < k; dy as `pack` lays it out, which
     * takes rows times n rounded up to a multiple of `lanes` elements */
    void (*dots)(ptrdiff_t rows, ptrdiff_t k, ptrdiff_t n, const fl_real *packed, const fl_real *w,
                 ptrdiff_t w_row, fl_real *dx, ptrdiff_t dx_row, int accumulate);
    void (*pack)(ptrdiff_t rows, ptrdiff_t n, const fl_real *dy, ptrdiff_t dy_row, fl_real *packed);

    /* dw(i, j) = sum over m < rows <= FL_SKINNY_OUTER of x(m, i) dy(m, j),   i < k, j < n; of dy whole vectors are read.
     * `stream`: past the caches, for which dw, w_row and n are multiples of a vector. */
    void (*outer)(ptrdiff_t rows, ptrdiff_t k, ptrdiff_t n, const fl_real *x, ptrdiff_t x_row, const fl_real *dy,
                  ptrdiff_t dy_row, fl_real *dw, ptrdiff_t w_row, int stream);

    ptrdiff_t lanes;
} fl_skinny_ukernels;

FL_DECLARE_ROWS(fl_skinny_ukernels, skinny);

#endif
