/* The weight gradient of a convolution.
 *
 *     dkernel(tap, c, o) = sum over output pixels p of  x(p's pixel under the tap, c) dy(p, o)
 *
 * as one product of (tap, c) rows and o columns with the pixels as its depth; dbias is one more row, under an x of ones.
 * The pixels are cut into chunks, the chunks into a number of slices that depends on the problem alone; each slice is
 * summed by one thread into a gradient of its own, and the slices are added in order.
 *
 *     loop 4   tasks = part of the columns x part of the channels x slice, shared out over the team
 *     loop 3   chunks of the slice: x with its padding is copied for one chunk at a time, and dy unless it is narrow
 *     loop 2   blocks of channels, of one group or of several
 *     loop 1   groups of mr rows (tap, c) or fewer, then column panels: the register tile, its depth the chunk's pixels
 */
#include "conv_algorithms.h"

#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "gemm_ukernels.h"
#include "panels.h"
#include "parallel.h"
#include "weight_chunks.h"

enum {
    MIN_TASKS = 8,       /* enough for any team to share */
    PART_ROWS = 512,     /* rows (tap, c) of a part of the channels: they pay for packing dy once more */
    REDUCE_BLOCK = 8192, /* elements added by one task at the end */
    PACKED_PIXELS = 16,  /* of dy, packed for all panels before the next */
    FEW_TILES = 16,      /* that read a panel of dy in turn: packing it would not pay */
};

static const fl_gemm_ukernels *const ukernels[] = {FL_ISA_ROWS(gemm)};

typedef struct {
    const fl_conv *c;
    const fl_gemm_ukernels *uk;
    fl_weight_chunks chunks;
    const fl_real *dy;
    fl_real *dkernel, *dbias;
    ptrdiff_t k, n;          /* channels and filters of a group */
    ptrdiff_t chunk_pixels;  /* at most */
    int in_place, tall;      /* dy is read as it stands, and by tall tiles where rows are left for one: */
    fl_run_tile *tile_tall;
    ptrdiff_t nr, panels_per_group, panels; /* of so many columns */
    ptrdiff_t slices, column_parts, channel_parts, part_channels; /* of each group */
    ptrdiff_t channel_block, groups_together; /* channels of a group packed at once, and groups */
    fl_real *partial;        /* [slice][dkernel, then dbias] */
    ptrdiff_t partial_size, dkernel_size;
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

/* What a task works on: a chunk, the panels of its columns, its channels of each group, and its scratch memory. */
typedef struct {
    fl_weight_chunk chunk;
    ptrdiff_t first_panel, last_panel, first_channel, last_channel;
    ptrdiff_t run_count, *runs; /* [run of pixels side by side]: where it begins in packed x */
    fl_real *dy;           /* [panel][pixel][width], nr places reserved for each pixel */
    fl_real *x;            /* see weight_chunks.h */
    fl_real *ones;         /* as much as a lane of x */
    fl_real *dkernel, *dbias; /* of the task's slice */
} task;

/* One column panel of dy under a chunk: row p begins at first + p * step, and may be read up to the tile's width. */
typedef struct {
    const fl_real *first;
    ptrdiff_t step, columns, width;
} dy_panel;

static ptrdiff_t runs_bytes(const plan *p) {
    return fl_ceil_div(p->chunks.images * p->chunks.rows * (ptrdiff_t)sizeof(ptrdiff_t), FL_LINE) * FL_LINE;
}

/* Elements from one packed panel of dy to the next: a line more than they need, so as not to lie a power of two apart. */
static ptrdiff_t dy_panel_size(const plan *p) { return p->chunk_pixels * p->nr + FL_LINE / (ptrdiff_t)sizeof(fl_real); }

static ptrdiff_t panel_columns(const plan *p, ptrdiff_t panel) {
    return FL_MIN(p->nr, p->n - panel % p->panels_per_group * p->nr);
}
static ptrdiff_t panel_first(const plan *p, ptrdiff_t panel) {
    return panel / p->panels_per_group * p->n + panel % p->panels_per_group * p->nr;
}

/* The last rows of all are not: nothing follows that a tile could read. */
static int in_place(const plan *p, const fl_weight_chunk *k, ptrdiff_t panel, ptrdiff_t width) {
    const fl_conv *c = p->c;
    const ptrdiff_t all = c->batch * c->window.oh * c->window.ow, last = k->first + k->pixels - 1;
    return p->in_place && (all - last) * c->filters - panel_first(p, panel) >= width;
}

static dy_panel panel_of_dy(const plan *p, const task *t, ptrdiff_t panel) {
    const ptrdiff_t columns = panel_columns(p, panel), width = fl_panel_width(p->uk, columns), filters = p->c->filters;
    dy_panel d = {.first = p->dy + t->chunk.first * filters + panel_first(p, panel), .step = filters, .columns = columns,
                  .width = width};
    if (in_place(p, &t->chunk, panel, width)) return d;
    d.first = t->dy + (panel - t->first_panel) * dy_panel_size(p);
    d.step = width;
    return d;
}

/* Pack what can't be read in place, a few pixels at a time, nearly as dy lies in memory. */
static void pack_dy(const plan *p, const task *t) {
    const ptrdiff_t filters = p->c->filters;
    for (ptrdiff_t pixel = 0; pixel < t->chunk.pixels; pixel += PACKED_PIXELS)
        for (ptrdiff_t panel = t->first_panel; panel < t->last_panel; panel++) {
            const ptrdiff_t columns = panel_columns(p, panel), width = fl_panel_width(p->uk, columns);
            if (in_place(p, &t->chunk, panel, width)) continue;
            FL(pack_panel)(FL_MIN(PACKED_PIXELS, t->chunk.pixels - pixel), columns,
                           p->dy + (t->chunk.first + pixel) * filters + panel_first(p, panel), filters, 1,
                           t->dy + (panel - t->first_panel) * dy_panel_size(p) + pixel * width, width, p->c->isa);
        }
}

/* Where each run of pixels that are side by side in packed x begins there.  Returns how many there are. */
static ptrdiff_t find_runs(const plan *p, const task *t) {
    const fl_weight_chunks *s = &p->chunks;
    const int one_run = s->step_y == 1 && t->chunk.cols * s->step_x == s->x_cols; /* rows follow each other */
    const ptrdiff_t rows = one_run ? 1 : t->chunk.rows;
    for (ptrdiff_t i = 0; i < t->chunk.images * rows; i++)
        t->runs[i] = (i / rows * s->x_rows + i % rows * s->step_y) * s->x_cols * s->lane;
    return t->chunk.images * rows;
}

/* The height of the next tile, when so many rows are left: a tall one where no other would do less work for nothing. */
static ptrdiff_t tile_height(const plan *p, ptrdiff_t left) {
    const fl_gemm_ukernels *uk = p->uk;
    return p->tall && fl_ceil_div(left, uk->mr_short) * uk->mr_short >= uk->mr_tall ? uk->mr_tall : fl_tile_rows(uk, left);
}

/* Loop 1: rows (tap, c) for channels [first, first + count) of a group, packed from x on, times the task's panels of it, and the
 * ones times them where the channels are the first. */
static void run_tiles(const plan *p, const task *t, ptrdiff_t group, ptrdiff_t first, ptrdiff_t count, const fl_real *x,
                      int accumulate) {
    const fl_weight_chunks *s = &p->chunks;
    const ptrdiff_t products = p->c->window.kh * p->c->window.kw * count, rows = products + (t->dbias && first == 0);
    const ptrdiff_t first_panel = FL_MAX(t->first_panel, group * p->panels_per_group);
    const ptrdiff_t last_panel = FL_MIN(t->last_panel, (group + 1) * p->panels_per_group);
    const ptrdiff_t run = t->chunk.pixels / t->run_count;
    const fl_real *rows_of_x[FL_MAX_MR];
    fl_real nowhere[FL_MAX_NR], *rows_of_c[FL_MAX_MR], *out[FL_MAX_MR];
    fl_tile tile = {.taps = t->run_count, .k = run, .a = rows_of_x, .a_at = t->runs, .a_k = s->step_x * s->lane, .c = out,
                    .accumulate = accumulate};
    fl_weight_row at = {0};
    for (ptrdiff_t row = 0, height; row < rows; row += height) {
        height = tile_height(p, rows - row);
        for (ptrdiff_t i = 0; i < height; i++) {
            const int product = row + i < products;
            rows_of_x[i] = product ? x + at.pixel + at.lane + at.in_lane : t->ones;
            rows_of_c[i] = product ? t->dkernel + (at.tap * p->k + first + at.c) * p->c->filters : t->dbias;
            if (product) fl_next_weight_row(s, count, &at);
        }
        for (ptrdiff_t panel = first_panel; panel < last_panel; panel++) {
            const dy_panel d = panel_of_dy(p, t, panel);
            for (ptrdiff_t i = 0; i < height; i++) out[i] = row + i < rows ? rows_of_c[i] + panel_first(p, panel) : nowhere;
            tile.b = d.first;
            tile.b_k = d.step;
            tile.b_next = run * d.step;
            tile.n = d.columns;
            (p->tall && height == p->uk->mr_tall ? p->tile_tall : fl_tile_of(p->uk, height, d.width))(&tile);
        }
    }
}

/* One chunk's share of the task, block of channels by block of channels. */
static void run_chunk(const plan *p, const task *t, int accumulate) {
    const ptrdiff_t last = fl_ceil_div(t->last_panel, p->panels_per_group);
    for (ptrdiff_t group = t->first_panel / p->panels_per_group, groups; group < last; group += groups) {
        groups = FL_MIN(p->groups_together, last - group);
        for (ptrdiff_t c = t->first_channel, count; c < t->last_channel; c += count) {
            count = FL_MIN(p->channel_block, t->last_channel - c);
            FL(pack_weight_chunk)(&p->chunks, &t->chunk, group * p->k + c, (groups - 1) * p->k + count, t->x);
            for (ptrdiff_t i = 0; i < groups; i++)
                run_tiles(p, t, group + i, c, count, t->x + i * p->k / p->chunks.lane * fl_lane_size(&p->chunks), accumulate);
        }
    }
}

static void run_tasks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    for (ptrdiff_t number = begin; number < end; number++) {
        const ptrdiff_t slice = number % p->slices, chunks = p->chunks.count;
        const ptrdiff_t channels = number / p->slices % p->channel_parts, columns = number / p->slices / p->channel_parts;
        task t = {.first_panel = p->panels * columns / p->column_parts,
                  .last_panel = p->panels * (columns + 1) / p->column_parts,
                  .first_channel = channels * p->part_channels,
                  .last_channel = FL_MIN(p->k, (channels + 1) * p->part_channels),
                  .dkernel = p->partial ? p->partial + slice * p->partial_size : p->dkernel,
                  .runs = (ptrdiff_t *)(p->scratch + thread * p->scratch_bytes)};
        t.dbias = p->dbias && p->partial ? t.dkernel + p->dkernel_size : p->dbias;
        t.ones = (fl_real *)((char *)t.runs + runs_bytes(p));
        t.dy = t.ones + fl_lane_size(&p->chunks);
        t.x = t.dy + fl_ceil_div(p->panels, p->column_parts) * dy_panel_size(p);
        for (ptrdiff_t i = 0; i < fl_lane_size(&p->chunks); i++) t.ones[i] = 1;
        for (ptrdiff_t i = chunks * slice / p->slices; i < chunks * (slice + 1) / p->slices; i++) {
            t.chunk = FL(weight_chunk)(&p->chunks, i);
            t.run_count = find_runs(p, &t);
            pack_dy(p, &t);
            run_chunk(p, &t, i > chunks * slice / p->slices);
        }
    }
}

/* Add the slices, in order. */
static void reduce(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const plan *p = job;
    for (ptrdiff_t i = begin * REDUCE_BLOCK; i < FL_MIN(end * REDUCE_BLOCK, p->partial_size); i++) {
        fl_real sum = p->partial[i];
        for (ptrdiff_t slice = 1; slice < p->slices; slice++) sum += p->partial[slice * p->partial_size + i];
        if (i < p->dkernel_size)
            p->dkernel[i] = sum;
        else
            p->dbias[i - p->dkernel_size] = sum;
    }
}

/* Tasks enough for any team.  Parts of the channels come first: each packs dy anew, which many rows (tap, c) pay for, but they
 * need no sum at the end, and their part of dkernel stays in L2.  Then slices of the pixels, as far as memory allows. */
static void share_out(plan *p) {
    const fl_conv *c = p->c;
    const ptrdiff_t lanes = fl_ceil_div(p->k, p->chunks.lane), taps = c->window.kh * c->window.kw;
    const ptrdiff_t affordable = FL_SLICES_BYTES / FL_MAX(1, p->partial_size * (ptrdiff_t)sizeof(fl_real));
    const ptrdiff_t most = FL_MAX(1, FL_MIN(FL_MIN(FL_SLICES, affordable), p->chunks.count));
    const ptrdiff_t of_groups = FL_MIN(c->groups, MIN_TASKS);
    p->column_parts = FL_MIN(p->panels, FL_MAX(of_groups, fl_ceil_div(c->filters, FL_MAX_COLUMNS)));
    ptrdiff_t parts = FL_MAX(fl_ceil_div(MIN_TASKS, most * p->column_parts), FL_MIN(MIN_TASKS, taps * p->k / PART_ROWS));
    parts = FL_MAX(1, FL_MIN(lanes, parts));
    p->part_channels = fl_ceil_div(lanes, parts) * p->chunks.lane;
    p->channel_parts = fl_ceil_div(p->k, p->part_channels);
    p->slices = FL_MIN(most, fl_ceil_div(MIN_TASKS, p->column_parts * p->channel_parts));
}

/* Channels packed at once: of several groups where each begins with a lane of its own, otherwise of one at most. */
static void block_channels(plan *p) {
    const ptrdiff_t lane = p->chunks.lane;
    const ptrdiff_t affordable = FL_MAX(1, FL_X_BYTES / (ptrdiff_t)sizeof(fl_real) / fl_lane_size(&p->chunks)) * lane;
    p->channel_block = FL_MIN(p->part_channels, affordable);
    p->groups_together = p->channel_block == p->k && p->k % lane == 0 ? FL_MIN(p->c->groups, affordable / p->k) : 1;
}

/* Rows of dy as narrow as a panel are read as they stand, rows twice as wide where few tiles read them, and four times where
 * two tiles do.  Tall tiles load more for a product than those of two vectors do: where dy is wider than one, they pay if one takes
 * all rows and saves two passes over dy.  Such a one reads dy but once: then chunks may be long, so that few rows of x are copied
 * for two of them. */
static void choose_panels(plan *p) {
    const fl_gemm_ukernels *uk = p->uk;
    const ptrdiff_t rows = p->c->window.kh * p->c->window.kw * p->k, filters = p->c->filters;
    const int one_tall = rows <= uk->mr_tall;
    p->in_place = filters <= (rows <= 2 * uk->mr ? 4 : rows <= FEW_TILES * uk->mr ? 2 : 1) * uk->nr;
    p->tall = filters <= uk->nr_narrow || (one_tall && filters <= 2 * uk->nr && uk->mr_tall > 2 * uk->mr);
    const int neighbours = p->k * (ptrdiff_t)sizeof(fl_real) <= FL_LINE && p->c->window.dw == 1; /* rows (tap, c) of a kernel row */
    p->tile_tall = fl_tall_tile_of(uk, one_tall && neighbours ? p->c->window.kw * p->k : 1);
    p->nr = p->tall ? uk->nr_narrow : uk->nr;
    p->panels_per_group = fl_ceil_div(p->n, p->nr);
    p->panels = p->c->groups * p->panels_per_group;
    const ptrdiff_t slice = p->c->batch * p->c->window.oh * p->c->window.ow / FL_SLICES;
    p->chunk_pixels = p->tall && one_tall ? FL_MAX(FL_CHUNK_PIXELS, FL_MIN(FL_LONG_CHUNK_PIXELS, slice)) : FL_CHUNK_PIXELS;
}

static plan make_plan(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    plan p = {.c = c, .uk = ukernels[c->isa], .dy = dy, .dkernel = dkernel, .dbias = dbias,
              .k = c->channels / c->groups, .n = c->filters / c->groups};
    choose_panels(&p);
    p.chunks = FL(weight_chunks)(c, x, p.chunk_pixels);
    p.dkernel_size = c->window.kh * c->window.kw * p.k * c->filters;
    p.partial_size = p.dkernel_size + (dbias ? c->filters : 0);
    share_out(&p);
    block_channels(&p);
    const ptrdiff_t x_size = fl_ceil_div(p.channel_block * p.groups_together, p.chunks.lane) * fl_lane_size(&p.chunks);
    const ptrdiff_t dy_size = fl_ceil_div(p.panels, p.column_parts) * dy_panel_size(&p);
    p.scratch_bytes = (runs_bytes(&p) + (fl_lane_size(&p.chunks) + dy_size + x_size) * (ptrdiff_t)sizeof(fl_real) + 127) / 64 * 64;
    return p;
}

int FL(direct_backward_weight)(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    const fl_window *w = &c->window;
    if (c->batch == 0 || w->oh == 0 || w->ow == 0) {
        memset(dkernel, 0, (size_t)(w->kh * w->kw * c->channels / c->groups * c->filters) * sizeof(fl_real));
        if (dbias) memset(dbias, 0, (size_t)c->filters * sizeof(fl_real));
        return FL_OK;
    }
    plan p = make_plan(c, x, dy, dkernel, dbias);
    double work = 2.0 * (double)p.dkernel_size * (double)(c->batch * w->oh * w->ow);
    const ptrdiff_t tasks = p.slices * p.channel_parts * p.column_parts;
    int team = fl_team(c->threads, tasks, work);
    const size_t scratch = (size_t)(team * p.scratch_bytes);
    const size_t bytes = scratch + (p.slices > 1 ? (size_t)(p.slices * p.partial_size) * sizeof(fl_real) : 0);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    if (p.slices > 1) p.partial = (fl_real *)(p.scratch + scratch);
    fl_parallel(team, tasks, run_tasks, &p);
    if (p.slices > 1) {
        ptrdiff_t blocks = fl_ceil_div(p.partial_size, REDUCE_BLOCK);
        fl_parallel(FL_MIN(team, blocks), blocks, reduce, &p);
    }
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}
