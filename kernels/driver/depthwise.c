/* Depthwise convolution, and groups of few channels, as many in as out.  A row of outputs at a time
 * reads the image through lists of pointers to its pixels, and rows of zeros stand for the padding.  Large images are bound by
 * memory, so nothing is packed or copied.  Small images of many channels have pixels that share sets of L1, and rows too
 * short for the channels of all their pixels to stay there: a block of channels passes over the whole image, its rows and
 * its weights copied nearer to each other.
 *
 *     loop 3   tasks = image x block of channels, then rows of outputs: rows of x are still in cache for the next one
 *     loop 2   classes of columns of the input gradient, when there are strides
 *     loop 1   the row kernel: tiles of a few columns, channels innermost
 */
#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "depthwise_ukernels.h"
#include "gather.h"
#include "parallel.h"

enum {
    MIN_TASKS = 32,
    UNIT = 64 / sizeof(fl_real), /* channels of a cache line: blocks of channels begin with one */
    MIN_UNITS = 4,               /* of a block */
    TILE_BYTES = 24 << 10,       /* of x under one tile */
    BLOCK = FL_DEPTHWISE_BLOCK,
    SMALL_IMAGE = 576 << 10,     /* bytes: it and its outputs stay in L2 while blocks of channels pass over them */
    SETS_BYTES = 1024,           /* pixels a multiple of it apart share a quarter of the sets of L1 or less; whole blocks */
    MOST_COPIED = 128 << 10,     /* bytes of image rows */
};

static const fl_depthwise_ukernels *const ukernels[] = {FL_ISA_ROWS(depthwise)};

typedef struct {
    const fl_gather *g;
    const fl_depthwise_ukernels *uk;
    const fl_real *w;           /* input k of its group and all outputs, for tap t: w + t * w_tap + k * w_k */
    ptrdiff_t w_tap, w_k;
    ptrdiff_t rows;             /* of the grid that has most: the outputs of all grids */
    ptrdiff_t taps_y, taps;     /* at most, of any grid */
    ptrdiff_t first_col, cols;  /* of the image, padding included, that the taps of any output see */
    int copies;                 /* a block of channels of image rows, which the next row of outputs reads again */
    ptrdiff_t splits;           /* blocks of channels */
    ptrdiff_t slices;           /* of the weight gradient */
    fl_real *partial;           /* [slice][dw, then db] */
    ptrdiff_t weights;          /* elements of dw, rows of which are packed_step apart */
    int with_bias;
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

/* ---- pixels of the image rows under a row of outputs ---- */

typedef struct {
    const fl_real **outside;   /* a row that is not in the image: zeros */
    const fl_real **pixels;    /* [slot][cols] */
    const fl_real ***window;   /* the row under each tap row */
    fl_real *copies;           /* [slot][cols][BLOCK] */
    const fl_real **weights;   /* one pointer a tap */
    ptrdiff_t *held;           /* number of the image row in each slot, -1 for none */
    fl_real *zeros;
} lists;

static ptrdiff_t copied_size(const plan *p) { return p->copies ? p->cols * BLOCK : 0; } /* of a row */

static ptrdiff_t lists_bytes(const plan *p) {
    ptrdiff_t words = (p->taps_y + 1) * p->cols + 2 * p->taps_y + p->taps;
    ptrdiff_t reals = p->g->channels + (p->taps_y + 1) * copied_size(p);
    return (ptrdiff_t)(words * sizeof(void *) + reals * sizeof(fl_real) + 2 * FL_LINE - 1) / FL_LINE * FL_LINE;
}

static lists lists_in(const plan *p, char *scratch) {
    const ptrdiff_t zeros = p->g->channels + copied_size(p);
    lists l = {.copies = (fl_real *)scratch, .zeros = (fl_real *)scratch + p->taps_y * copied_size(p)};
    l.outside = (const fl_real **)(l.zeros + (zeros + 1) / 2 * 2);
    l.pixels = l.outside + p->cols;
    l.window = (const fl_real ***)(l.pixels + p->taps_y * p->cols);
    l.weights = (const fl_real **)(l.window + p->taps_y);
    l.held = (ptrdiff_t *)(l.weights + p->taps);
    memset(scratch, 0, (size_t)(p->taps_y * copied_size(p) + zeros) * sizeof(fl_real));
    for (ptrdiff_t i = 0; i < p->cols; i++) l.outside[i] = l.zeros;
    for (ptrdiff_t i = 0; i < p->taps_y; i++) l.held[i] = -1;
    return l;
}

/* Channels [first_channel(split), first_channel(split + 1)) are a block. */
static ptrdiff_t first_channel(const plan *p, ptrdiff_t split) {
    return FL_MIN(p->g->channels, fl_ceil_div(p->g->channels, UNIT) * split / p->splits * UNIT);
}

/* Copy a block of the channels of an image row, and list the copies.  Those of the padding are zeros from the start. */
static void copy_pixels(const plan *p, const fl_real *row, ptrdiff_t split, fl_real *to, const fl_real **list) {
    const ptrdiff_t begin = FL_MAX(0, p->first_col), end = FL_MIN(p->g->w, p->first_col + p->cols), step = p->g->channels;
    const ptrdiff_t first = first_channel(p, split);
    p->uk->copy(end - begin, row + begin * step + first, step, to + (begin - p->first_col) * BLOCK);
    for (ptrdiff_t i = 0; i < p->cols; i++) list[i] = to + i * BLOCK - first;
}

/* Row y of the image, in this slot unless it is there already. */
static const fl_real **pixels_of_row(const plan *p, const lists *l, ptrdiff_t image, ptrdiff_t y, ptrdiff_t split, ptrdiff_t slot) {
    const fl_gather *g = p->g;
    const ptrdiff_t number = image * g->h + y, key = p->copies ? number * p->splits + split : number;
    const fl_real **list = l->pixels + slot * p->cols, *row = g->x + number * g->w * g->channels;
    if (l->held[slot] == key) return list;
    l->held[slot] = key;
    if (p->copies) copy_pixels(p, row, split, l->copies + slot * copied_size(p), list);
    else for (ptrdiff_t i = 0, x = p->first_col; i < p->cols; i++, x++) list[i] = x >= 0 && x < g->w ? row + x * g->channels : l->zeros;
    return list;
}

/* The window over row r of the grid's outputs; neighbouring rows of outputs share image rows and so their lists. */
static fl_depthwise_window window_over(const plan *p, const lists *l, const fl_grid *grid, ptrdiff_t image, ptrdiff_t r,
                                       ptrdiff_t split) {
    const fl_gather *g = p->g;
    const int neighbours = grid->taps_y < 2 || grid->tap_y[1] - grid->tap_y[0] == 1;
    for (ptrdiff_t i = 0; i < grid->taps_y; i++) {
        const ptrdiff_t y = r * grid->y_step + grid->tap_y[i];
        const int inside = y >= 0 && y < g->h;
        const fl_real **row = inside ? pixels_of_row(p, l, image, y, split, neighbours ? y % p->taps_y : i) : l->outside;
        l->window[i] = row + (grid->tap_x[0] - p->first_col);
    }
    const ptrdiff_t first = first_channel(p, split);
    return (fl_depthwise_window){.taps_y = grid->taps_y, .taps_x = grid->taps_x, .group = g->k, .x_step = grid->x_step,
                                 .tap_step = grid->taps_x > 1 ? grid->tap_x[1] - grid->tap_x[0] : 1,
                                 .x = (const fl_real *const *const *)l->window, .first = first,
                                 .n = first_channel(p, split + 1) - first, .copied = p->copies};
}

/* Rows that the window over row r + 1 of the outputs sees and that over row r doesn't; the first grid asks for all grids. */
static fl_depthwise_ahead rows_ahead(const plan *p, const fl_grid *grid, ptrdiff_t image, ptrdiff_t r) {
    const fl_gather *g = p->g;
    const ptrdiff_t y = r * grid->y_step + grid->tap_y[grid->taps_y - 1] + 1, row_step = g->w * g->channels;
    if (grid != g->grids || y < 0 || y + grid->y_step > g->h) return (fl_depthwise_ahead){0};
    return (fl_depthwise_ahead){.x = g->x + (image * g->h + y) * row_step, .rows = grid->y_step, .row_step = row_step,
                                .col_step = g->channels};
}

/* ---- plan ---- */

static double work(const fl_gather *g) { /* bytes that x and y have, or flops, whichever takes longer */
    double pixels = 0, flops = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) {
        double of_grid = (double)fl_grid_pixels(g, &g->grids[i]) * (double)g->channels;
        pixels += of_grid;
        flops += 2 * of_grid * (double)(fl_grid_taps(&g->grids[i]) * g->k);
    }
    return FL_MAX(flops, 8.0 * sizeof(fl_real) * pixels);
}

/* Large images are bound by memory, which reads whole pixels fastest; under strides few rows of outputs share a pixel. */
static int copies_pixels(const plan *p) {
    const fl_gather *g = p->g;
    const ptrdiff_t pixel = g->channels * (ptrdiff_t)sizeof(fl_real), copied = p->taps_y * p->cols * BLOCK * (ptrdiff_t)sizeof(fl_real);
    return g->grid_count == 1 && g->grids->x_step == 1 && g->grids->y_step == 1 && g->k == 1 && pixel % SETS_BYTES == 0 &&
           g->h * g->w * pixel <= SMALL_IMAGE && copied <= MOST_COPIED;
}

static plan make_plan(const fl_gather *g) {
    plan p = {.g = g, .uk = ukernels[g->isa], .w = g->weights, .w_tap = g->w_tap, .w_k = g->w_k, .first_col = PTRDIFF_MAX};
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
    const fl_grid *grid = g->grids;
    const ptrdiff_t columns = (FL_DEPTHWISE_COLS - 1) * grid->x_step + grid->taps_x;
    const ptrdiff_t units = fl_ceil_div(g->channels, UNIT), affordable = FL_MAX(MIN_UNITS, TILE_BYTES / 64 / (p.taps_y * columns));
    p.splits = FL_MAX(fl_ceil_div(units, affordable), fl_ceil_div(MIN_TASKS, FL_MAX(1, g->batch * p.rows)));
    p.splits = FL_MAX(1, FL_MIN(p.splits, units / MIN_UNITS));
    p.copies = copies_pixels(&p);
    if (p.copies) p.splits = FL_MAX(1, g->channels / BLOCK);
    p.scratch_bytes = lists_bytes(&p);
    return p;
}

/* ---- forward and input gradient ---- */

/* Number of the last tap's weights, plus 1. */
static ptrdiff_t weight_taps(const fl_gather *g) {
    ptrdiff_t taps = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) {
        const fl_grid *grid = &g->grids[i];
        for (ptrdiff_t y = 0; y < grid->taps_y; y++)
            for (ptrdiff_t x = 0; x < grid->taps_x; x++) taps = FL_MAX(taps, grid->weight_y[y] + grid->weight_x[x] + 1);
    }
    return taps;
}

/* The input gradient has the outputs of a group, for each of its inputs, in the wrong order; copied pixels have left the sets
 * of L1 that weights of taps 4 KB apart would share. */
static int reads_weights_in_place(const plan *p) { return !p->copies && (p->g->w_n == 1 || p->g->k == 1); }

/* Elements from one packed row of weights to the next. */
static ptrdiff_t packed_step(const plan *p) { return fl_ceil_div(p->g->channels, UNIT) * UNIT + UNIT; }

static void pack_weights(plan *p, fl_real *packed, ptrdiff_t taps) {
    const fl_gather *g = p->g;
    p->w = packed;
    p->w_k = packed_step(p);
    p->w_tap = g->k * p->w_k;
    for (ptrdiff_t tap = 0; tap < taps; tap++)
        for (ptrdiff_t k = 0; k < g->k; k++, packed += p->w_k) {
            const fl_real *from = g->weights + tap * g->w_tap + k * g->w_k;
            if (g->k == 1) memcpy(packed, from, (size_t)g->channels * sizeof *packed);
            else for (ptrdiff_t c = 0; c < g->channels; c++) packed[c] = from[c / g->n * g->w_group + c % g->n * g->w_n];
        }
}

static void run_row(const plan *p, const lists *l, const fl_grid *grid, ptrdiff_t image, ptrdiff_t r, ptrdiff_t split) {
    const fl_gather *g = p->g;
    const fl_real **weights = l->weights;
    for (ptrdiff_t i = 0; i < grid->taps_y; i++)
        for (ptrdiff_t j = 0; j < grid->taps_x; j++)
            for (ptrdiff_t k = 0; k < g->k; k++)
                *weights++ = p->w + (grid->weight_y[i] + grid->weight_x[j]) * p->w_tap + k * p->w_k;
    const fl_depthwise_row row = {.window = window_over(p, l, grid, image, r, split), .cols = grid->cols, .w = l->weights,
                                  .out = g->y + image * g->y_image + grid->out_offset + r * grid->out_row,
                                  .out_step = grid->out_col, .out_ahead = grid->out_row,
                                  .ahead = rows_ahead(p, grid, image, r), .bias = g->bias,
                                  .activation = g->activation, .alpha = g->alpha};
    p->uk->row(&row);
}

static void run_rows(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const lists l = lists_in(p, p->scratch + thread * p->scratch_bytes);
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t image = task / (p->splits * p->rows), i = task % (p->splits * p->rows);
        const ptrdiff_t split = p->copies ? i / p->rows : i % p->splits, r = p->copies ? i % p->rows : i / p->splits;
        for (const fl_grid *grid = p->g->grids; grid < p->g->grids + p->g->grid_count; grid++)
            if (r < grid->rows) run_row(p, &l, grid, image, r, split);
    }
}

ptrdiff_t FL(depthwise_largest_group)(int isa) { return ukernels[isa]->largest_group; }

int FL(depthwise)(const fl_gather *g) {
    plan p = make_plan(g);
    const ptrdiff_t tasks = g->batch * p.rows * p.splits;
    if (tasks == 0) return FL_OK;
    int team = fl_team(g->threads, tasks, work(g));
    const ptrdiff_t packed_taps = reads_weights_in_place(&p) ? 0 : weight_taps(g);
    const size_t bytes = (size_t)(team * p.scratch_bytes) + (size_t)(packed_taps * g->k * packed_step(&p)) * sizeof(fl_real);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    if (packed_taps) pack_weights(&p, (fl_real *)(p.scratch + team * p.scratch_bytes), packed_taps);
    fl_parallel(team, tasks, run_rows, &p);
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}

/* ---- weight gradient ---- */

/* One slice of the rows of outputs, summed in order into a gradient of its own. */
static void run_sums(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const fl_gather *g = p->g;
    const fl_grid *grid = g->grids;
    const lists l = lists_in(p, p->scratch + thread * p->scratch_bytes);
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t slice = task / p->splits, split = task % p->splits, rows = g->batch * grid->rows;
        fl_real *dw = p->partial + slice * (p->weights + packed_step(p));
        for (ptrdiff_t row = rows * slice / p->slices; row < rows * (slice + 1) / p->slices; row++) {
            const ptrdiff_t image = row / grid->rows, r = row % grid->rows;
            const fl_depthwise_sum sum = {.window = window_over(p, &l, grid, image, r, split), .cols = grid->cols,
                                          .step = g->channels, .dw_step = packed_step(p), .dy = g->y + image * g->y_image + r * grid->out_row,
                                          .ahead = rows_ahead(p, grid, image, r), .dw = dw, .db = p->with_bias ? dw + p->weights : NULL};
            p->uk->sum(&sum);
        }
    }
}

int FL(depthwise_sums)(const fl_gather *g, fl_real *dkernel, fl_real *dbias) {
    plan p = make_plan(g);
    p.slices = FL_MAX(1, FL_MIN(FL_SLICES, g->batch * p.rows));
    p.weights = fl_grid_taps(g->grids) * g->k * packed_step(&p);
    p.with_bias = dbias != NULL;
    const ptrdiff_t slice_size = p.weights + packed_step(&p);
    int team = fl_team(g->threads, p.slices * p.splits, work(g));
    const size_t bytes = (size_t)(team * p.scratch_bytes) + (size_t)(p.slices * slice_size) * sizeof(fl_real);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    p.partial = (fl_real *)(p.scratch + team * p.scratch_bytes);
    memset(p.partial, 0, (size_t)(p.slices * slice_size) * sizeof(fl_real));
    fl_parallel(team, p.slices * p.splits, run_sums, &p);
    for (ptrdiff_t slice = 1; slice < p.slices; slice++)
        for (ptrdiff_t i = 0; i < slice_size; i++) p.partial[i] += p.partial[slice * slice_size + i];
    for (ptrdiff_t i = 0; i < p.weights / packed_step(&p); i++)
        memcpy(dkernel + i * g->channels, p.partial + i * packed_step(&p), (size_t)g->channels * sizeof(fl_real));
    if (dbias) memcpy(dbias, p.partial + p.weights, (size_t)g->channels * sizeof(fl_real));
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}
