/* How depthwise convolution goes through its channels, and whether it copies pixels. */
#include <stdint.h>

#include "buffers.h"
#include "depthwise_rows.h"

enum {
    MIN_TASKS = 32,
    UNIT = FL_DEPTHWISE_UNIT,
    MIN_UNITS = 4,          /* of a block */
    TILE_BYTES = 24 << 10,  /* of x under one tile */
    BLOCK = FL_DEPTHWISE_BLOCK,
    SMALL_IMAGE = 1 << 20,  /* bytes: it stays in L2 or near while blocks of channels pass over it */
    SETS_BYTES = 1024,      /* pixels a multiple of it apart share a quarter of the sets of L1 or less */
    MOST_COPIED = 40 << 10, /* bytes of image rows, nearly all of which stay in L1 */
};

static const fl_depthwise_ukernels *const ukernels[] = {FL_ISA_ROWS(depthwise)};

/* Copies lie near to each other, and where vectors of them are whole cache lines.  That pays in small images, if pixels share
 * sets of L1 or vectors straddle lines: large ones are bound by memory, which reads whole pixels fastest, and under strides
 * few rows of outputs share a pixel.  Sums read dy as well, once, and gain less. */
static int copies_pixels(const fl_depthwise_plan *p, int sums) {
    const fl_gather *g = p->g;
    const fl_grid *grid = g->grids;
    const ptrdiff_t real = sizeof(fl_real), pixel = g->channels * real;
    const int known = (grid->taps_x == 3 || grid->taps_x == 5) && grid->tap_x[1] - grid->tap_x[0] == 1; /* to the kernels */
    const int conflict = pixel % SETS_BYTES == 0;
    const int straddle = fl_probing() || (uintptr_t)g->x % FL_LINE != 0; /* workspaces are stated for any x */
    return g->grid_count == 1 && grid->x_step == 1 && grid->y_step == 1 && g->k == 1 && known &&
           (conflict || (straddle && !sums)) && g->h * g->w * pixel <= (sums ? SMALL_IMAGE / 2 : SMALL_IMAGE) &&
           p->taps_y * p->cols * BLOCK * real <= MOST_COPIED;
}

static ptrdiff_t splits_of(const fl_depthwise_plan *p) {
    const fl_gather *g = p->g;
    if (p->copies) return FL_MAX(1, fl_ceil_div(g->channels, BLOCK));
    const ptrdiff_t columns = (FL_DEPTHWISE_COLS - 1) * g->grids->x_step + g->grids->taps_x;
    const ptrdiff_t units = fl_ceil_div(g->channels, UNIT), affordable = FL_MAX(MIN_UNITS, TILE_BYTES / FL_LINE / (p->taps_y * columns));
    const ptrdiff_t splits = FL_MAX(fl_ceil_div(units, affordable), fl_ceil_div(MIN_TASKS, FL_MAX(1, g->batch * p->rows)));
    return FL_MAX(1, FL_MIN(splits, units / MIN_UNITS));
}

fl_depthwise_plan FL(depthwise_plan)(const fl_gather *g, int sums) {
    fl_depthwise_plan p = {.g = g, .uk = ukernels[g->isa], .first_col = PTRDIFF_MAX};
    ptrdiff_t end = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) {
        const fl_grid *grid = &g->grids[i];
        p.rows = FL_MAX(p.rows, grid->rows);
        p.taps_y = FL_MAX(p.taps_y, grid->taps_y);
        p.taps = FL_MAX(p.taps, fl_grid_taps(grid) * g->k);
        p.first_col = FL_MIN(p.first_col, grid->tap_x[0]);
        end = FL_MAX(end, (fl_ceil_div(grid->cols, FL_DEPTHWISE_COLS) * FL_DEPTHWISE_COLS - 1) * grid->x_step +
                              grid->tap_x[grid->taps_x - 1] + 1);
    }
    p.cols = end - p.first_col;
    p.copies = copies_pixels(&p, sums);
    p.splits = splits_of(&p);
    p.bytes = lists_bytes(&p);
    return p;
}

ptrdiff_t FL(depthwise_largest_group)(int isa) { return ukernels[isa]->largest_group; }
