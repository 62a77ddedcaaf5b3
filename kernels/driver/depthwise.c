/* Depthwise convolution: groups == channels, one input and one output each.  Bound by memory, so nothing is packed; the
 * tables of pointers are those of the general case. */
#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "depthwise_ukernels.h"
#include "gather.h"
#include "parallel.h"

enum { MIN_TASKS = 32, MIN_CHANNELS = 64 };

static const fl_depthwise_ukernels *const ukernels[] = {FL_ISA_ROWS(depthwise)};

typedef struct {
    const fl_gather *g;
    const fl_depthwise_ukernels *uk;
    ptrdiff_t block, blocks, splits;
    ptrdiff_t slices;     /* of the weight gradient */
    fl_real *partial;     /* [slice][dw, then db] */
    ptrdiff_t weights;    /* elements of dw */
    int with_bias;
    char *scratch;
    ptrdiff_t scratch_bytes, table_bytes;
} plan;

static ptrdiff_t blocks_of(const plan *p, const fl_grid *grid) {
    return fl_ceil_div(fl_grid_pixels(p->g, grid), p->block);
}

static ptrdiff_t most_taps(const fl_gather *g) {
    ptrdiff_t most = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) most = FL_MAX(most, fl_grid_taps(&g->grids[i]));
    return most;
}

static double work(const fl_gather *g) { /* bytes that x and y have, or flops, whichever takes longer */
    double pixels = 0, flops = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) {
        double of_grid = (double)fl_grid_pixels(g, &g->grids[i]) * (double)g->channels;
        pixels += of_grid;
        flops += 2 * of_grid * (double)fl_grid_taps(&g->grids[i]);
    }
    return FL_MAX(flops, 8.0 * sizeof(fl_real) * pixels);
}

static plan make_plan(const fl_gather *g, ptrdiff_t splits_for) {
    plan p = {.g = g, .uk = ukernels[g->isa]};
    ptrdiff_t affordable = FL_TABLE_ENTRIES / FL_MAX(1, most_taps(g)) / FL_DEPTHWISE_PIXELS * FL_DEPTHWISE_PIXELS;
    p.block = FL_MAX(FL_DEPTHWISE_PIXELS, FL_MIN(FL_BLOCK_PIXELS, affordable));
    for (ptrdiff_t i = 0; i < g->grid_count; i++) p.blocks += blocks_of(&p, &g->grids[i]);
    ptrdiff_t wished = fl_ceil_div(splits_for, FL_MAX(1, p.blocks));
    p.splits = FL_MAX(1, FL_MIN(wished, g->channels / MIN_CHANNELS));
    p.table_bytes = FL(table_bytes)(g, p.block);
    p.scratch_bytes = p.table_bytes + (most_taps(g) * (ptrdiff_t)sizeof(void *) + 63) / 64 * 64;
    return p;
}

static void run_tiles(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const fl_gather *g = p->g;
    char *scratch = p->scratch + thread * p->scratch_bytes;
    const fl_real **weights = (const fl_real **)(scratch + p->table_bytes);
    fl_table table = FL(table_in)(g, p->block, scratch);
    for (ptrdiff_t task = begin; task < end; task++) {
        ptrdiff_t block = task / p->splits, split = task % p->splits;
        const fl_grid *grid = g->grids;
        while (block >= blocks_of(p, grid)) block -= blocks_of(p, grid++);
        ptrdiff_t first = block * p->block, pixels = FL_MIN(p->block, fl_grid_pixels(g, grid) - first);
        FL(build_table)(g, grid, FL_DEPTHWISE_PIXELS, first, pixels, &table);
        for (ptrdiff_t i = 0; i < grid->taps_y; i++)
            for (ptrdiff_t j = 0; j < grid->taps_x; j++)
                weights[i * grid->taps_x + j] = g->weights + (grid->weight_y[i] + grid->weight_x[j]) * g->w_tap;
        ptrdiff_t channel = g->channels * split / p->splits, channels = g->channels * (split + 1) / p->splits - channel;
        for (ptrdiff_t pixel = 0; pixel < pixels; pixel += FL_DEPTHWISE_PIXELS) {
            const fl_depthwise_tile tile = {.taps = table.taps, .x = table.rows + pixel * table.taps, .w = weights,
                                            .out = table.out + pixel, .first = channel, .n = channels, .bias = g->bias,
                                            .activation = g->activation, .alpha = g->alpha};
            p->uk->tile(&tile);
        }
    }
}

int FL(depthwise)(const fl_gather *g) {
    plan p = make_plan(g, MIN_TASKS);
    if (p.blocks == 0) return FL_OK;
    int team = fl_team(g->threads, p.blocks * p.splits, work(g));
    const size_t bytes = (size_t)(team * p.scratch_bytes);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    fl_parallel(team, p.blocks * p.splits, run_tiles, &p);
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}

/* One slice of the pixels, summed in order into a gradient of its own. */
static void run_sums(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const fl_gather *g = p->g;
    fl_table table = FL(table_in)(g, p->block, p->scratch + thread * p->scratch_bytes);
    for (ptrdiff_t task = begin; task < end; task++) {
        ptrdiff_t slice = task / p->splits, split = task % p->splits;
        fl_real *dw = p->partial + slice * (p->weights + g->channels);
        ptrdiff_t channel = g->channels * split / p->splits, channels = g->channels * (split + 1) / p->splits - channel;
        for (ptrdiff_t block = p->blocks * slice / p->slices; block < p->blocks * (slice + 1) / p->slices; block++) {
            ptrdiff_t first = block * p->block, pixels = FL_MIN(p->block, fl_grid_pixels(g, g->grids) - first);
            FL(build_table)(g, g->grids, 1, first, pixels, &table);
            const fl_depthwise_sum sum = {.pixels = pixels, .taps = table.taps, .x = table.rows,
                                          .dy = (const fl_real *const *)table.out, .first = channel, .n = channels,
                                          .dw = dw, .dw_tap = g->channels, .db = p->with_bias ? dw + p->weights : NULL};
            p->uk->sum(&sum);
        }
    }
}

int FL(depthwise_sums)(const fl_gather *g, fl_real *dkernel, fl_real *dbias) {
    plan p = make_plan(g, 1);
    p.slices = FL_MAX(1, FL_MIN(FL_SLICES, p.blocks));
    p.splits = FL_MAX(1, FL_MIN(FL_SLICES / p.slices, g->channels / MIN_CHANNELS));
    p.weights = fl_grid_taps(g->grids) * g->channels;
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
