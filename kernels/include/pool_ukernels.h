/* Micro-kernels of pooling, for one instruction set and dtype.
 *
 * All of them gather.  Forward, the sources of a result are the input pixels in its window; backward, they are the
 * windows that read an input pixel.  Either way they form a small grid. */
#ifndef FL_POOL_UKERNELS_H
#define FL_POOL_UKERNELS_H

#include "fl_types.h"

/* A row of result pixels that gather alike.  Steps and strides are in elements. */
typedef struct {
    ptrdiff_t pixels, channels;
    ptrdiff_t source_step, result_step;    /* from one pixel to the next */
    ptrdiff_t rows, cols;                  /* the grid of sources of each, at least 1 x 1 */
    ptrdiff_t row_stride, col_stride;      /* from source to source */
    ptrdiff_t tap, row_tap, col_tap;       /* window tap of the first source, and from source to source */
    ptrdiff_t pixel_tap;                   /* and from pixel to pixel */
    fl_real divisor;                       /* of an average */
    const fl_real *row_divisors, *col_divisors; /* where the sources have divisors of their own: source (i, j) has */
    ptrdiff_t row_divisor_step, col_divisor_step; /* row_divisors[i * row_divisor_step] * col_divisors[j * ...] */
    /* What the next row of results will touch first, for each pixel: ahead_rows x ahead_cols sources from source + ahead on,
     * and result + result_ahead.  Fetched while this row is computed; no rows of sources where all is in cache anyway. */
    ptrdiff_t ahead, ahead_rows, ahead_row_stride, ahead_cols, ahead_col_stride, result_ahead;
} fl_pool_run;

/* `argmax` stands beside the results of a maximum, and beside the sources of its backward; others ignore it. */
typedef void fl_pool_ukernel(const fl_pool_run *run, const fl_real *source, void *argmax, fl_real *result);

enum fl_argmax { FL_NO_ARGMAX, FL_ARGMAX_U8, FL_ARGMAX_I32, FL_ARGMAX_WIDTHS };

typedef struct {
    fl_pool_ukernel *max[FL_ARGMAX_WIDTHS];          /* result = first maximum of the sources; argmax = its tap */
    fl_pool_ukernel *max_backward[FL_ARGMAX_WIDTHS]; /* result = sum of the sources whose argmax is their tap here */
    fl_pool_ukernel *average;                        /* result = (sum of the sources) / divisor */
    fl_pool_ukernel *average_stream;                 /* the same for large windows that are read from memory */
    fl_pool_ukernel *average_uneven;                 /* result = sum of the sources / their own divisors */
    /* Backward of windows that do not overlap: one source, and a grid of results that have it to themselves.  row_stride,
     * col_stride, row_tap and col_tap lead from result to result. */
    fl_pool_ukernel *max_spread; /* u8 argmax */
    fl_pool_ukernel *average_spread;
} fl_pool_ukernels;

FL_DECLARE_ROWS(fl_pool_ukernels, pool);

#endif
