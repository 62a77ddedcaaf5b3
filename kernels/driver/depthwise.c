/* Depthwise convolution, and groups of few channels, as many in as out.  Bound by memory, so nothing is packed or
 * copied: a row of outputs at a time reads the image through lists of pointers to its pixels, and rows of zeros stand
 * for the padding.
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
    ptrdiff_t splits;           /* blocks of channels */
    ptrdiff_t slices;           /* of the weight gradient */
    fl_real *partial;           /* [slice][dw, then db] */
    ptrdiff_t weights;          /* elements of dw */
    int with_bias;
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

/* ---- pixels of the image rows under a row of outputs ---- */

typedef struct {
    const fl_real **outside;   /* a row that is not in the image: zeros */
    const fl_real **pixels;    /* [slot][cols] */
    const fl_real ***window;   /* the row under each tap row */
    const fl_real **weights;   /* one pointer a tap */
    ptrdiff_t *held;           /* number of the image row in each slot, -1 for none */
    fl_real *zeros;
} lists;

static ptrdiff_t lists_bytes(const plan *p) {
    ptrdiff_t words = (p->taps_y + 1) * p->cols + 2 * p->taps_y + p->taps;
    return (ptrdiff_t)(words * sizeof(void *) + p->g->channels * sizeof(fl_real) + 127) / 64 * 64;
}

static lists lists_in(const plan *p, char *scratch) {
    lists l = {.outside = (const fl_real **)scratch};
    l.pixels = l.outside + p->cols;
    l.window = (const fl_real ***)(l.pixels + p->taps_y * p->cols);
    l.weights = (const fl_real **)(l.window + p->taps_y);
    l.held = (ptrdiff_t *)(l.weights + p->taps);
    l.zeros = (fl_real *)(l.held + p->taps_y);
    memset(l.zeros, 0, (size_t)p->g->channels * sizeof *l.zeros);
    for (ptrdiff_t i = 0; i < p->cols; i++) l.outside[i] = l.zeros;
    for (ptrdiff_t i = 0; i < p->taps_y; i++) l.held[i] = -1;
    return l;
}

/* Row y of the image, in this slot unless it is there already. */
static const fl_real **pixels_of_row(const plan *p, const lists *l, ptrdiff_t image, ptrdiff_t y, ptrdiff_t slot) {
    const fl_gather *g = p->g;
    const ptrdiff_t number = image * g->h + y;
    const fl_real **list = l->pixels + slot * p->cols, *row = g->x + number * g->w * g->channels;
    if (l->held[slot] == number) return list;
    l->held[slot] = number;
    for (ptrdiff_t i = 0, x = p->first_col; i < p->cols; i++, x++) list[i] = x >= 0 && x < g->w ? row + x * g->channels : l->zeros;
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
        const fl_real **row = inside ? pixels_of_row(p, l, image, y, neighbours ? y % p->taps_y : i) : l->outside;
        l->window[i] = row + (grid->tap_x[0] - p->first_col);
    }
    const ptrdiff_t units = fl_ceil_div(g->channels, UNIT), first = units * split / p->splits * UNIT;
    const ptrdiff_t end = FL_MIN(g->channels, units * (split + 1) / p->splits * UNIT);
    return (fl_depthwise_window){.taps_y = grid->taps_y, .taps_x = grid->taps_x, .group = g->k, .x_step = grid->x_step,
                                 .tap_step = grid->taps_x > 1 ? grid->tap_x[1] - grid->tap_x[0] : 1,
                                 .x = (const fl_real *const *const *)l->window, .first = first, .n = end - first};
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

static plan make_plan(const fl_gather *g) {
    plan p = {.g = g, .uk = ukernels[g->isa], .w = g->weights, .w_tap = g->w_tap, .w_k = g->w_k, .first_col = PTRDIFF_MAX};
    ptrdiff_t end = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) {
        const fl_grid *grid = &g->grids[i];
        p.rows = FL_MAX(p.rows, grid->rows);
        p.taps_y = FL_MAX(p.taps_y, grid->taps_y);
        p.taps = FL_MAX(p.taps, fl_grid_taps(grid) * g->k);
        p.first_col = FL_MIN(p.first_col, grid->tap_x[0]);
        end = FL_MAX(end, (grid->cols + FL_DEPTHWISE_COLS) * grid->x_step + grid->tap_x[grid->taps_x - 1]);
    }
    p.cols = end - p.first_col;
    const fl_grid *grid = g->grids;
    const ptrdiff_t columns = (FL_DEPTHWISE_COLS - 1) * grid->x_step + grid->taps_x;
    const ptrdiff_t units = fl_ceil_div(g->channels, UNIT), affordable = FL_MAX(MIN_UNITS, TILE_BYTES / 64 / (p.taps_y * columns));
    p.splits = FL_MAX(fl_ceil_div(units, affordable), fl_ceil_div(MIN_TASKS, FL_MAX(1, g->batch * p.rows)));
    p.splits = FL_MAX(1, FL_MIN(p.splits, units / MIN_UNITS));
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

/* The input gradient has the outputs of a group, for each of its inputs, in the wrong order. */
static int reads_weights_in_place(const fl_gather *g) { return g->w_n == 1 || g->k == 1; }

static void pack_weights(plan *p, fl_real *packed, ptrdiff_t taps) {
    const fl_gather *g = p->g;
    p->w = packed;
    p->w_k = g->channels;
    p->w_tap = g->k * g->channels;
    for (ptrdiff_t tap = 0; tap < taps; tap++)
        for (ptrdiff_t k = 0; k < g->k; k++)
            for (ptrdiff_t c = 0; c < g->channels; c++)
                *packed++ = g->weights[tap * g->w_tap + c / g->n * g->w_group + k * g->w_k + c % g->n * g->w_n];
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
        const ptrdiff_t split = task % p->splits, r = task / p->splits % p->rows, image = task / (p->splits * p->rows);
        for (ptrdiff_t i = 0; i < p->g->grid_count; i++)
            if (r < p->g->grids[i].rows) run_row(p, &l, &p->g->grids[i], image, r, split);
    }
}

ptrdiff_t FL(depthwise_largest_group)(int isa) { return ukernels[isa]->largest_group; }

int FL(depthwise)(const fl_gather *g) {
    plan p = make_plan(g);
    const ptrdiff_t tasks = g->batch * p.rows * p.splits;
    if (tasks == 0) return FL_OK;
    int team = fl_team(g->threads, tasks, work(g));
    const ptrdiff_t packed_taps = reads_weights_in_place(g) ? 0 : weight_taps(g);
    const size_t bytes = (size_t)(team * p.scratch_bytes) + (size_t)(packed_taps * g->k * g->channels) * sizeof(fl_real);
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
        fl_real *dw = p->partial + slice * (p->weights + g->channels);
        for (ptrdiff_t row = rows * slice / p->slices; row < rows * (slice + 1) / p->slices; row++) {
            const ptrdiff_t image = row / grid->rows, r = row % grid->rows;
            const fl_depthwise_sum sum = {.window = window_over(p, &l, grid, image, r, split), .cols = grid->cols,
                                          .step = g->channels, .dy = g->y + image * g->y_image + r * grid->out_row,
                                          .ahead = rows_ahead(p, grid, image, r), .dw = dw, .db = p->with_bias ? dw + p->weights : NULL};
            p->uk->sum(&sum);
        }
    }
}

int FL(depthwise_sums)(const fl_gather *g, fl_real *dkernel, fl_real *dbias) {
    plan p = make_plan(g);
    p.slices = FL_MAX(1, FL_MIN(FL_SLICES, g->batch * p.rows));
    p.weights = fl_grid_taps(g->grids) * g->k * g->channels;
    p.with_bias = dbias != NULL;
    const ptrdiff_t slice_size = p.weights + g->channels;
    int team = fl_team(g->threads, p.slices * p.splits, work(g));
    const size_t bytes = (size_t)(team * p.scratch_bytes) + (size_t)(p.slices * slice_size) * sizeof(fl_real);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    p.partial = (fl_real *)(p.scratch + team * p.scratch_bytes);
    memset(p.partial, 0, (size_t)(p.slices * slice_size) * sizeof(fl_real));
    fl_parallel(team, p.slices * p.splits, run_sums, &p);
    for (ptrdiff_t slice = 1; slice < p.slices; slice++)
        for (ptrdiff_t i = 0; i < slice_size; i++) p.partial[i] += p.partial[slice * slice_size + i];
    memcpy(dkernel, p.partial, (size_t)p.weights * sizeof(fl_real));
    if (dbias) memcpy(dbias, p.partial + p.weights, (size_t)g->channels * sizeof(fl_real));
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}
