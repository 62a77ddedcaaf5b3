/* Rows gathered from an image, times weights: what convolution forward and its input gradient have in common.
 *
 *     y(p, :) = f( sum over taps (i, j) of x(p's pixel under tap (i, j), :) W(i, j) + bias )
 *
 * for the pixels p of one or more regular grids.  A tap that falls outside the image reads zeros, or is left out. */
#ifndef FL_GATHER_H
#define FL_GATHER_H

#include "fl_types.h"

typedef struct {
    ptrdiff_t rows, cols;         /* pixels of the grid in each image */
    ptrdiff_t y_step, x_step;     /* grid pixel (r, c) under tap (i, j) reads image pixel */
    const ptrdiff_t *tap_y, *tap_x; /* (r * y_step + tap_y[i], c * x_step + tap_x[j]) */
    const ptrdiff_t *weight_y, *weight_x; /* and weights number weight_y[i] + weight_x[j] */
    ptrdiff_t taps_y, taps_x;
    ptrdiff_t first_tap;          /* number of taps in the grids before this one */
    ptrdiff_t out_offset, out_row, out_col; /* pixel (r, c) is written at y + out_offset + r * out_row + c * out_col */
} fl_grid;

typedef struct {
    const fl_real *x;
    ptrdiff_t batch, h, w, channels;
    const fl_real *weights; /* element (tap, k, j) of group g: weights[tap * w_tap + g * w_group + k * w_k + j * w_n] */
    ptrdiff_t w_tap, w_group, w_k, w_n;
    ptrdiff_t groups, k, n; /* k inputs and n outputs in each group */
    fl_real *y;
    ptrdiff_t y_image; /* elements from one output image to the next */
    const fl_real *bias;
    int activation;
    fl_real alpha;
    const fl_grid *grids;
    ptrdiff_t grid_count;
    int isa, threads;
} fl_gather;

static inline ptrdiff_t fl_grid_pixels(const fl_gather *g, const fl_grid *grid) { return g->batch * grid->rows * grid->cols; }
static inline ptrdiff_t fl_grid_taps(const fl_grid *grid) { return grid->taps_y * grid->taps_x; }

/* What one thread builds for one block of pixels: where the rows are that its tiles read and write. */
typedef struct {
    ptrdiff_t mr;
    const fl_real **rows;   /* [tile of mr pixels][pointer][mr] */
    fl_real **out;          /* [pixel] */
    ptrdiff_t *kept;        /* [tile] taps that read anything but padding, */
    ptrdiff_t *order;       /* [tile][pointer] and which they are */
    fl_real *zeros;         /* what a tap outside the image reads */
    fl_real *nowhere;       /* where a pixel past the end is written */
    fl_real *runs;          /* copies: of padded image rows where taps are merged, of pixels too far apart */
    ptrdiff_t taps, k;      /* as the tile sees them: a merged run counts as one tap */
    ptrdiff_t pointers;     /* of a pixel: one for each tap, or a single one with its taps tap_step apart */
    ptrdiff_t tap_step;     /* 0 where every tap has a pointer; then alone are kept and order filled */
} fl_table;

/* Pixels of a block, at most. */
ptrdiff_t FL(table_pixels)(const fl_gather *g);

/* Bytes of scratch that a table for blocks of `block` pixels needs, and the table laid into such scratch. */
ptrdiff_t FL(table_bytes)(const fl_gather *g, ptrdiff_t mr, ptrdiff_t block);
fl_table FL(table_in)(const fl_gather *g, ptrdiff_t mr, ptrdiff_t block, char *scratch);

/* Fill the table for pixels [first, first + pixels) of the grid. */
void FL(build_table)(const fl_gather *g, const fl_grid *grid, ptrdiff_t first, ptrdiff_t pixels, fl_table *table);

int FL(gather_gemm)(const fl_gather *g); /* any problem, through the register tile */
int FL(tapwise)(const fl_gather *g);     /* problems of one group: a product for each tap, in blocks */
int FL(depthwise)(const fl_gather *g);   /* groups of few channels, as many in as out: see depthwise_largest_group */

/* The weight gradient of a depthwise forward problem, whose y holds dy; dbias may be NULL. */
int FL(depthwise_sums)(const fl_gather *g, fl_real *dkernel, fl_real *dbias);

#endif
