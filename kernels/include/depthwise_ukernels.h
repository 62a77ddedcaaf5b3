/* Depthwise convolution: channels side by side in the vector, one input and one output each; and convolution in groups of
 * so few channels, as many in as out, that whole groups fit a vector.
 *
 * x[i] lists the pixels of the image row under tap row i, those beside the image pointing to zeros.  Where the pixels are
 * copies, each lies FL_DEPTHWISE_BLOCK after the one before, and so do the weights of the taps of a row; the first ones are
 * listed alone.  Copied are windows 3 or 5 taps wide, with x_step and tap_step 1. */
#ifndef FL_DEPTHWISE_UKERNELS_H
#define FL_DEPTHWISE_UKERNELS_H

#include "fl_types.h"

enum {
    FL_DEPTHWISE_COLS = 7, /* output pixels side by side: 112, 56, 28, 14 and 7 are multiples of it */
    FL_DEPTHWISE_BLOCK = 4 * 64 / sizeof(fl_real), /* channels that are copied together */
};

typedef struct {
    ptrdiff_t taps_y, taps_x;
    ptrdiff_t group; /* channels of a group: 1, or a power of two up to `largest_group` */
    ptrdiff_t x_step, tap_step; /* output column p reads, under tap column j, pixel p * x_step + j * tap_step */
    const fl_real *const *const *x;
    int copied;
    ptrdiff_t first, n; /* channels first <= c < first + n */
} fl_depthwise_window;

/* The pixels that the next row is the first to read, fetched while this one is computed: their columns are far apart, and
 * rows of them too, for prefetchers in hardware. */
typedef struct {
    const fl_real *x; /* or NULL */
    ptrdiff_t rows, row_step, col_step;
} fl_depthwise_ahead;

/* out[p * out_step + c] = f( sum_ijk x[i][p * x_step + j * tap_step][c - c % group + k] w[(i * taps_x + j) * group + k][c]
 *                            + bias[c] ),   p < cols, k < group
 * Pixels are read as if cols were a multiple of FL_DEPTHWISE_COLS.  The next row will be written at out + out_ahead. */
typedef struct {
    fl_depthwise_window window;
    ptrdiff_t cols;
    const fl_real *const *w;
    fl_real *out;
    ptrdiff_t out_step, out_ahead;
    fl_depthwise_ahead ahead;
    const fl_real *bias; /* or NULL */
    int activation;
    fl_real alpha;
} fl_depthwise_row;

/* dw[((i * taps_x + j) * group + k) * dw_step + c] += sum_p x[i][p * x_step + j * tap_step][c - c % group + k] dy[p * step + c],
 * p < cols, k < group, and, unless db is NULL, db[c] += sum_p dy[p * step + c] */
typedef struct {
    fl_depthwise_window window;
    ptrdiff_t cols, step, dw_step;
    const fl_real *dy; /* that of the next row follows */
    fl_depthwise_ahead ahead;
    fl_real *dw, *db;
} fl_depthwise_sum;

typedef struct {
    ptrdiff_t largest_group;
    /* to[q * BLOCK + c] = x[q * step + c], q < pixels, c < n <= BLOCK = FL_DEPTHWISE_BLOCK */
    void (*copy)(ptrdiff_t pixels, ptrdiff_t n, const fl_real *x, ptrdiff_t step, fl_real *to);
    void (*row)(const fl_depthwise_row *);
    void (*sum)(const fl_depthwise_sum *);
} fl_depthwise_ukernels;

FL_DECLARE_ROWS(fl_depthwise_ukernels, depthwise);

#endif
