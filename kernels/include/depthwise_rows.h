/* What depthwise convolution reads for a row of outputs: the rows of the image under it, as lists of their pixels or as copies.
 * Neighbouring rows of outputs share image rows.  Rows outside of the image are left out; zeros stand for the padding beside it. */
#ifndef FL_DEPTHWISE_ROWS_H
#define FL_DEPTHWISE_ROWS_H

#include <string.h>

#include "blocking.h"
#include "depthwise_ukernels.h"
#include "gather.h"

enum { FL_DEPTHWISE_UNIT = FL_LINE / sizeof(fl_real) }; /* channels of a cache line: blocks of channels begin with one */

typedef struct {
    const fl_gather *g;
    const fl_depthwise_ukernels *uk;
    ptrdiff_t rows;            /* of the grid that has most: the outputs of all grids */
    ptrdiff_t taps_y, taps;    /* at most, of any grid */
    ptrdiff_t first_col, cols; /* of the image, padding included, that the taps of any output see */
    int copies;                /* a block of channels of image rows, which the next row of outputs reads again */
    ptrdiff_t splits;          /* blocks of channels */
    ptrdiff_t bytes;           /* scratch of a thread for the lists */
} fl_depthwise_plan;

/* For the row kernel, or for sums of the weight gradient. */
fl_depthwise_plan FL(depthwise_plan)(const fl_gather *g, int sums);

/* Row r of the outputs of an image, in channels [first, first + n), which are block `split`. */
typedef struct {
    ptrdiff_t image, r, split, first, n;
} fl_depthwise_place;

static inline ptrdiff_t first_channel(const fl_depthwise_plan *p, ptrdiff_t split) {
    if (p->copies) return FL_MIN(p->g->channels, split * FL_DEPTHWISE_BLOCK);
    return FL_MIN(p->g->channels, fl_ceil_div(p->g->channels, FL_DEPTHWISE_UNIT) * split / p->splits * FL_DEPTHWISE_UNIT);
}

static inline fl_depthwise_place place_of(const fl_depthwise_plan *p, ptrdiff_t image, ptrdiff_t r, ptrdiff_t split) {
    const ptrdiff_t first = first_channel(p, split);
    return (fl_depthwise_place){.image = image, .r = r, .split = split, .first = first, .n = first_channel(p, split + 1) - first};
}

/* ---- lists ---- */

typedef struct {
    fl_real *copies;         /* [slot][cols][FL_DEPTHWISE_BLOCK] */
    fl_real *zeros;
    const fl_real **pixels;  /* [slot][cols]; of copies the first is enough */
    const fl_real ***window; /* the row under each tap row */
    const fl_real **weights; /* one pointer a tap */
    ptrdiff_t *held;         /* number of the image row in each slot, -1 for none */
} fl_depthwise_lists;

static inline ptrdiff_t copied_size(const fl_depthwise_plan *p) { /* of an image row */
    return p->copies ? p->cols * FL_DEPTHWISE_BLOCK : 0;
}

static inline ptrdiff_t lists_bytes(const fl_depthwise_plan *p) {
    const ptrdiff_t words = p->taps_y * p->cols + 2 * p->taps_y + p->taps;
    const ptrdiff_t reals = p->g->channels + p->taps_y * copied_size(p);
    return (ptrdiff_t)(words * sizeof(void *) + reals * sizeof(fl_real) + 2 * FL_LINE - 1) / FL_LINE * FL_LINE;
}

static inline fl_depthwise_lists lists_in(const fl_depthwise_plan *p, char *scratch) {
    fl_depthwise_lists l = {.copies = (fl_real *)scratch, .zeros = (fl_real *)scratch + p->taps_y * copied_size(p)};
    l.pixels = (const fl_real **)(l.zeros + (p->g->channels + 1) / 2 * 2);
    l.window = (const fl_real ***)(l.pixels + p->taps_y * p->cols);
    l.weights = (const fl_real **)(l.window + p->taps_y);
    l.held = (ptrdiff_t *)(l.weights + p->taps);
    memset(scratch, 0, (size_t)(p->taps_y * copied_size(p) + p->g->channels) * sizeof(fl_real));
    for (ptrdiff_t i = 0; i < p->taps_y; i++) l.held[i] = -1;
    return l;
}

/* Copy the block's channels of an image row.  The pixels of the padding are zeros from the start. */
static inline const fl_real *copy_pixels(const fl_depthwise_plan *p, const fl_real *row, fl_depthwise_place at, fl_real *to) {
    const ptrdiff_t begin = FL_MAX(0, p->first_col), end = FL_MIN(p->g->w, p->first_col + p->cols), step = p->g->channels;
    p->uk->copy(end - begin, at.n, row + begin * step + at.first, step, to + (begin - p->first_col) * FL_DEPTHWISE_BLOCK);
    return to - at.first;
}

/* Row y of the image, in this slot unless it is there already. */
static inline const fl_real **pixels_of_row(const fl_depthwise_plan *p, const fl_depthwise_lists *l, fl_depthwise_place at,
                                            ptrdiff_t y, ptrdiff_t slot) {
    const fl_gather *g = p->g;
    const ptrdiff_t number = at.image * g->h + y, key = p->copies ? number * p->splits + at.split : number;
    const fl_real **list = l->pixels + slot * p->cols, *row = g->x + number * g->w * g->channels;
    if (l->held[slot] == key) return list;
    l->held[slot] = key;
    if (p->copies) list[0] = copy_pixels(p, row, at, l->copies + slot * copied_size(p));
    else for (ptrdiff_t i = 0, x = p->first_col; i < p->cols; i++, x++) list[i] = x >= 0 && x < g->w ? row + x * g->channels : l->zeros;
    return list;
}

/* ---- windows ---- */

/* Tap rows of the window over row r of the grid's outputs that lie above the image: they are left out, and so are those below. */
static inline ptrdiff_t rows_above(const fl_grid *grid, ptrdiff_t r) {
    ptrdiff_t above = 0;
    while (above < grid->taps_y && r * grid->y_step + grid->tap_y[above] < 0) above++;
    return above;
}

static inline fl_depthwise_window window_over(const fl_depthwise_plan *p, const fl_depthwise_lists *l, const fl_grid *grid,
                                              fl_depthwise_place at, ptrdiff_t above) {
    const fl_gather *g = p->g;
    const int neighbours = grid->taps_y < 2 || grid->tap_y[1] - grid->tap_y[0] == 1;
    ptrdiff_t found = 0, y;
    for (ptrdiff_t i = above; i < grid->taps_y && (y = at.r * grid->y_step + grid->tap_y[i]) < g->h; i++)
        l->window[found++] = pixels_of_row(p, l, at, y, neighbours ? y % p->taps_y : i) + (grid->tap_x[0] - p->first_col);
    return (fl_depthwise_window){.taps_y = found, .taps_x = grid->taps_x, .group = g->k, .x_step = grid->x_step,
                                 .tap_step = grid->taps_x > 1 ? grid->tap_x[1] - grid->tap_x[0] : 1, .copied = p->copies,
                                 .x = (const fl_real *const *const *)l->window, .first = at.first, .n = at.n};
}

/* Rows that the window over the next row of outputs sees and this one doesn't; the first grid asks for all grids.  Below the last
 * row of a block that is copied follow the first ones of the next block, or of the next image. */
static inline fl_depthwise_ahead rows_ahead(const fl_depthwise_plan *p, const fl_grid *grid, fl_depthwise_place at) {
    const fl_gather *g = p->g;
    const ptrdiff_t row_step = g->w * g->channels;
    ptrdiff_t y = at.r * grid->y_step + grid->tap_y[grid->taps_y - 1] + 1, channels = 0;
    if (p->copies && y >= g->h) {
        const int last = at.split + 1 == p->splits;
        y -= g->h;
        channels = last ? -at.first : FL_DEPTHWISE_BLOCK;
        at.image += last;
    }
    if (grid != g->grids || y < 0 || y + grid->y_step > g->h || at.image == g->batch) return (fl_depthwise_ahead){0};
    return (fl_depthwise_ahead){.x = g->x + (at.image * g->h + y) * row_step + channels, .rows = grid->y_step,
                                .row_step = row_step, .col_step = g->channels};
}

#endif
