/* Depthwise convolution, and groups of few channels, as many in as out.  A row of outputs at a time
 * reads the image through lists of pointers to its pixels, or, where pixels would share sets of L1 or vectors of them straddle
 * its lines, copies of a block of channels, which passes over the whole image: see depthwise_plan.c.
 *
 *     loop 3   tasks = image x block of channels, then rows of outputs: rows of x are still in cache for the next one
 *     loop 2   classes of columns of the input gradient, when there are strides
 *     loop 1   the row kernel: tiles of a few columns, channels innermost
 */
#include "blocking.h"
#include "buffers.h"
#include "depthwise_rows.h"
#include "parallel.h"

enum { UNIT = FL_DEPTHWISE_UNIT, BLOCK = FL_DEPTHWISE_BLOCK };

static double work(const fl_gather *g) { /* bytes that x and y have, or flops, whichever takes longer */
    double pixels = 0, flops = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) {
        double of_grid = (double)fl_grid_pixels(g, &g->grids[i]) * (double)g->channels;
        pixels += of_grid;
        flops += 2 * of_grid * (double)(fl_grid_taps(&g->grids[i]) * g->k);
    }
    return FL_MAX(flops, 8.0 * sizeof(fl_real) * pixels);
}

/* Elements from one packed row of all channels to the next. */
static ptrdiff_t packed_step(const fl_gather *g) { return fl_ceil_div(g->channels, UNIT) * UNIT + UNIT; }

/* ---- forward and input gradient ---- */

typedef struct {
    fl_depthwise_plan plan;
    const fl_real *w; /* input k of its group and all outputs, for tap t: w + t * w_tap + k * w_k; or blocks of them */
    ptrdiff_t w_tap, w_k;
    char *scratch;
} row_job;

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

static ptrdiff_t packed_reals(const fl_depthwise_plan *p) {
    if (p->copies) return p->splits * p->taps * BLOCK;
    return reads_weights_in_place(p->g) ? 0 : weight_taps(p->g) * p->g->k * packed_step(p->g);
}

/* Weights of copied pixels: [block of channels][tap of the grid, in its order][BLOCK]. */
static void pack_blocks(row_job *job, fl_real *packed) {
    const fl_gather *g = job->plan.g;
    const fl_grid *grid = g->grids;
    job->w = packed;
    for (ptrdiff_t split = 0; split < job->plan.splits; split++) {
        const fl_depthwise_place at = place_of(&job->plan, 0, 0, split);
        for (ptrdiff_t i = 0; i < grid->taps_y; i++)
            for (ptrdiff_t j = 0; j < grid->taps_x; j++, packed += BLOCK)
                memcpy(packed, g->weights + (grid->weight_y[i] + grid->weight_x[j]) * g->w_tap + at.first, (size_t)at.n * sizeof *packed);
    }
}

static void pack_groups(row_job *job, fl_real *packed) {
    const fl_gather *g = job->plan.g;
    job->w = packed;
    job->w_k = packed_step(g);
    job->w_tap = g->k * job->w_k;
    for (ptrdiff_t tap = 0, taps = weight_taps(g); tap < taps; tap++)
        for (ptrdiff_t k = 0; k < g->k; k++, packed += job->w_k) {
            const fl_real *from = g->weights + tap * g->w_tap + k * g->w_k;
            for (ptrdiff_t c = 0; c < g->channels; c++) packed[c] = from[c / g->n * g->w_group + c % g->n * g->w_n];
        }
}

/* Pointers to the weights of the grid's taps from row `above` on. */
static const fl_real *const *list_weights(const row_job *job, const fl_depthwise_lists *l, const fl_grid *grid,
                                          fl_depthwise_place at, ptrdiff_t above) {
    const ptrdiff_t inputs = job->plan.g->k;
    const fl_real **weights = l->weights;
    if (job->plan.copies) {
        const fl_real *block = job->w + at.split * job->plan.taps * BLOCK - at.first;
        for (ptrdiff_t t = above * grid->taps_x; t < job->plan.taps; t++) *weights++ = block + t * BLOCK;
    } else
        for (ptrdiff_t i = above; i < grid->taps_y; i++)
            for (ptrdiff_t j = 0; j < grid->taps_x; j++)
                for (ptrdiff_t k = 0; k < inputs; k++)
                    *weights++ = job->w + (grid->weight_y[i] + grid->weight_x[j]) * job->w_tap + k * job->w_k;
    return l->weights;
}

static void run_row(const row_job *job, const fl_depthwise_lists *l, const fl_grid *grid, fl_depthwise_place at) {
    const fl_depthwise_plan *p = &job->plan;
    const fl_gather *g = p->g;
    const ptrdiff_t above = rows_above(grid, at.r);
    const fl_depthwise_row row = {.window = window_over(p, l, grid, at, above), .cols = grid->cols,
                                  .w = list_weights(job, l, grid, at, above),
                                  .out = g->y + at.image * g->y_image + grid->out_offset + at.r * grid->out_row,
                                  .out_step = grid->out_col, .out_ahead = grid->out_row,
                                  .ahead = rows_ahead(p, grid, at), .bias = g->bias,
                                  .activation = g->activation, .alpha = g->alpha};
    p->uk->row(&row);
}

static void run_rows(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const row_job *job = context;
    const fl_depthwise_plan *p = &job->plan;
    const fl_depthwise_lists l = lists_in(p, job->scratch + thread * p->bytes);
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t image = task / (p->splits * p->rows), i = task % (p->splits * p->rows);
        const ptrdiff_t split = p->copies ? i / p->rows : i % p->splits, r = p->copies ? i % p->rows : i / p->splits;
        const fl_depthwise_place at = place_of(p, image, r, split);
        for (const fl_grid *grid = p->g->grids; grid < p->g->grids + p->g->grid_count; grid++)
            if (r < grid->rows) run_row(job, &l, grid, at);
    }
}

int FL(depthwise)(const fl_gather *g) {
    row_job job = {.plan = FL(depthwise_plan)(g, 0), .w = g->weights, .w_tap = g->w_tap, .w_k = g->w_k};
    const fl_depthwise_plan *p = &job.plan;
    const ptrdiff_t tasks = g->batch * p->rows * p->splits;
    if (tasks == 0) return FL_OK;
    const int team = fl_team(g->threads, tasks, work(g));
    const size_t bytes = (size_t)(team * p->bytes) + (size_t)packed_reals(p) * sizeof(fl_real);
    job.scratch = fl_buffer_get(bytes);
    if (!job.scratch) return FL_ENOMEM;
    fl_real *packed = (fl_real *)(job.scratch + team * p->bytes);
    if (p->copies) pack_blocks(&job, packed);
    else if (!reads_weights_in_place(g)) pack_groups(&job, packed);
    fl_parallel(team, tasks, run_rows, &job);
    fl_buffer_put(job.scratch, bytes);
    return FL_OK;
}

/* ---- weight gradient ---- */

typedef struct {
    fl_depthwise_plan plan;
    ptrdiff_t slices;
    ptrdiff_t step, weights; /* rows of dw are a step apart, and dw has so many elements */
    fl_real *partial;        /* [slice][dw, then db] */
    int with_bias;
    char *scratch;
} sum_job;

/* One slice of the rows of outputs, summed in order into a gradient of its own. */
static void run_sums(void *context, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const sum_job *job = context;
    const fl_depthwise_plan *p = &job->plan;
    const fl_gather *g = p->g;
    const fl_grid *grid = g->grids;
    const fl_depthwise_lists l = lists_in(p, job->scratch + thread * p->bytes);
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t slice = task / p->splits, split = task % p->splits, rows = g->batch * grid->rows;
        fl_real *dw = job->partial + slice * (job->weights + job->step);
        for (ptrdiff_t row = rows * slice / job->slices; row < rows * (slice + 1) / job->slices; row++) {
            const fl_depthwise_place at = place_of(p, row / grid->rows, row % grid->rows, split);
            const ptrdiff_t above = rows_above(grid, at.r);
            const fl_depthwise_sum sum = {.window = window_over(p, &l, grid, at, above), .cols = grid->cols,
                                          .step = g->channels, .dw_step = job->step,
                                          .dy = g->y + at.image * g->y_image + at.r * grid->out_row,
                                          .ahead = rows_ahead(p, grid, at),
                                          .dw = dw + above * grid->taps_x * g->k * job->step,
                                          .db = job->with_bias ? dw + job->weights : NULL};
            p->uk->sum(&sum);
        }
    }
}

/* Add the slices in order. */
static void collect_sums(const sum_job *job, fl_real *dkernel, fl_real *dbias) {
    const ptrdiff_t slice_size = job->weights + job->step, channels = job->plan.g->channels;
    fl_real *sums = job->partial;
    for (ptrdiff_t slice = 1; slice < job->slices; slice++)
        for (ptrdiff_t i = 0; i < slice_size; i++) sums[i] += job->partial[slice * slice_size + i];
    for (ptrdiff_t i = 0; i < job->weights / job->step; i++)
        memcpy(dkernel + i * channels, sums + i * job->step, (size_t)channels * sizeof(fl_real));
    if (dbias) memcpy(dbias, sums + job->weights, (size_t)channels * sizeof(fl_real));
}

int FL(depthwise_sums)(const fl_gather *g, fl_real *dkernel, fl_real *dbias) {
    sum_job job = {.plan = FL(depthwise_plan)(g, 1), .step = packed_step(g), .with_bias = dbias != NULL};
    const fl_depthwise_plan *p = &job.plan;
    job.slices = FL_MAX(1, FL_MIN(FL_SLICES, g->batch * p->rows));
    job.weights = fl_grid_taps(g->grids) * g->k * job.step;
    const int team = fl_team(g->threads, job.slices * p->splits, work(g));
    const size_t partials = (size_t)(job.slices * (job.weights + job.step)) * sizeof(fl_real);
    const size_t bytes = (size_t)(team * p->bytes) + partials;
    job.scratch = fl_buffer_get(bytes);
    if (!job.scratch) return FL_ENOMEM;
    job.partial = (fl_real *)(job.scratch + team * p->bytes);
    memset(job.partial, 0, partials);
    fl_parallel(team, job.slices * p->splits, run_sums, &job);
    collect_sums(&job, dkernel, dbias);
    fl_buffer_put(job.scratch, bytes);
    return FL_OK;
}
