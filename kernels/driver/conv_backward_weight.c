/* The weight gradient of a convolution.
 *
 *     dkernel(tap, c, o) = sum over output pixels p of  x(p's pixel under the tap, c) dy(p, o)
 *
 * as one product of (tap, c) rows and o columns with the pixels as its depth.  The pixels are cut into chunks, the
 * chunks into a number of slices that depends on the problem alone; each slice is summed by one thread into a gradient
 * of its own, and the slices are added in order.
 *
 *     loop 4   tasks = column split x slice, shared out over the team
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
#include "sum_rows_ukernels.h"
#include "weight_chunks.h"

enum {
    MIN_TASKS = 8,       /* where the slices alone are fewer, the columns are split */
    REDUCE_BLOCK = 8192, /* elements added by one task at the end */
    FEW_TILES = 16,      /* that read a panel of dy in turn: packing it would not pay */
};

static const fl_gemm_ukernels *const ukernels[] = {FL_ISA_ROWS(gemm)};
static const fl_sum_rows_ukernels *const sums[] = {FL_ISA_ROWS(sum_rows)};

typedef struct {
    const fl_conv *c;
    const fl_gemm_ukernels *uk;
    fl_weight_chunks chunks;
    const fl_real *dy;
    fl_real *dkernel, *dbias;
    ptrdiff_t k, n;          /* channels and filters of a group */
    ptrdiff_t slices, splits, panels_per_group, panels;
    ptrdiff_t channel_block; /* channels packed at once */
    fl_real *partial;        /* [slice][dkernel, then dbias] */
    ptrdiff_t partial_size, dkernel_size;
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

/* What a task works on: a chunk, the panels of its columns, and its scratch memory. */
typedef struct {
    fl_weight_chunk chunk;
    ptrdiff_t first_panel, last_panel;
    const fl_real **lists; /* [list][mr]: where the tile reads x */
    fl_real *dy;           /* [panel][pixel][width], nr places reserved for each pixel */
    fl_real *x;            /* see weight_chunks.h */
} task;

/* One column panel of dy under a chunk: row p begins at first + p * step, and may be read up to the tile's width. */
typedef struct {
    const fl_real *first;
    ptrdiff_t step, columns, width;
} dy_panel;

static ptrdiff_t lists_bytes(const plan *p) {
    return fl_ceil_div(p->chunks.images * p->chunks.rows * p->uk->mr * (ptrdiff_t)sizeof(void *), FL_LINE) * FL_LINE;
}

static ptrdiff_t panel_columns(const plan *p, ptrdiff_t panel) {
    return FL_MIN(p->uk->nr, p->n - panel % p->panels_per_group * p->uk->nr);
}
static ptrdiff_t panel_first(const plan *p, ptrdiff_t panel) {
    return panel / p->panels_per_group * p->n + panel % p->panels_per_group * p->uk->nr;
}

/* Rows of dy as narrow as a panel are read as they stand, and rows twice as wide where few tiles read them; but not the
 * last rows of all, where nothing follows that a tile could read. */
static int in_place(const plan *p, const fl_weight_chunk *k, ptrdiff_t panel, ptrdiff_t width) {
    const fl_conv *c = p->c;
    const ptrdiff_t rows = c->window.kh * c->window.kw * p->k, all = c->batch * c->window.oh * c->window.ow;
    const ptrdiff_t panels = rows <= FEW_TILES * p->uk->mr ? 2 : 1, last = k->first + k->pixels - 1;
    return c->filters <= panels * p->uk->nr && (all - last) * c->filters - panel_first(p, panel) >= width;
}

static dy_panel panel_of_dy(const plan *p, const task *t, ptrdiff_t panel) {
    const ptrdiff_t columns = panel_columns(p, panel), width = fl_panel_width(p->uk, columns), filters = p->c->filters;
    dy_panel d = {.first = p->dy + t->chunk.first * filters + panel_first(p, panel), .step = filters, .columns = columns,
                  .width = width};
    if (in_place(p, &t->chunk, panel, width)) return d;
    d.first = t->dy + (panel - t->first_panel) * FL_CHUNK_PIXELS * p->uk->nr;
    d.step = width;
    return d;
}

/* Pack what can't be read in place, and add it all to dbias unless that is NULL. */
static void prepare_dy(const plan *p, const task *t, fl_real *dbias) {
    const ptrdiff_t filters = p->c->filters, pixels = t->chunk.pixels;
    for (ptrdiff_t panel = t->first_panel; panel < t->last_panel; panel++) {
        const dy_panel d = panel_of_dy(p, t, panel);
        const fl_real *from = p->dy + t->chunk.first * filters + panel_first(p, panel);
        if (d.first != from)
            FL(pack_panel)(pixels, d.columns, from, filters, 1, t->dy + (panel - t->first_panel) * FL_CHUNK_PIXELS * p->uk->nr,
                           d.width, p->c->isa);
        if (dbias) sums[p->c->isa]->add(pixels, d.columns, d.first, d.step, dbias + panel_first(p, panel));
    }
}

/* Pointers to where row (tap, c) begins, c of the packed channels: one where all runs of the chunk lie a fixed step apart,
 * otherwise one for each of its `lists` runs. */
static void list_row(const plan *p, const task *t, ptrdiff_t tap, ptrdiff_t c, ptrdiff_t lists, const fl_real **to) {
    const fl_weight_chunks *s = &p->chunks;
    const fl_window *w = &p->c->window;
    const ptrdiff_t y = tap / w->kw * w->dh, x = tap % w->kw * w->dw, runs = lists / t->chunk.images;
    const fl_real *image = t->x + c / s->lane * fl_lane_size(s) + (y * s->x_cols + x) * s->lane + c % s->lane;
    if (lists == 1) {
        *to = image;
        return;
    }
    for (ptrdiff_t number = 0; number < t->chunk.images; number++, image += s->x_rows * s->x_cols * s->lane)
        for (ptrdiff_t r = 0; r < runs; r++, to += p->uk->mr) *to = image + r * s->step_y * s->x_cols * s->lane;
}

/* Loop 1: rows (tap, c) for channels [first, first + count) of one group, which begin with packed channel `at`, times the
 * panels of that group. */
static void run_tiles(const plan *p, const task *t, ptrdiff_t first, ptrdiff_t count, ptrdiff_t at, ptrdiff_t first_panel,
                      ptrdiff_t last_panel, fl_real *dkernel, int accumulate) {
    const fl_window *w = &p->c->window;
    const fl_weight_chunk *k = &t->chunk;
    const ptrdiff_t mr = p->uk->mr, rows = w->kh * w->kw * count, pixel = p->chunks.step_x * p->chunks.lane;
    fl_real nowhere[FL_MAX_NR], *rows_of_c[FL_MAX_MR], *out[FL_MAX_MR];
    const int one_run = p->chunks.step_y == 1 && k->cols * p->chunks.step_x == p->chunks.x_cols; /* rows of pixels follow each other in packed x */
    const ptrdiff_t runs = one_run ? k->images : k->images * k->rows, run = k->pixels / runs, lists = k->images == 1 ? 1 : runs;
    fl_tile tile = {.taps = runs, .k = run, .a = t->lists, .a_next = lists == 1 ? 0 : mr, .a_k = pixel, .c = out,
                    .a_step = lists == 1 ? p->chunks.step_y * p->chunks.x_cols * p->chunks.lane : 0, .accumulate = accumulate};
    for (ptrdiff_t row = 0, height; row < rows; row += height) {
        height = fl_tile_rows(p->uk, rows - row);
        for (ptrdiff_t i = 0; i < height; i++) {
            const ptrdiff_t number = FL_MIN(row + i, rows - 1), tap = number / count, c = number % count; /* past the end: the last */
            list_row(p, t, tap, at + c, lists, t->lists + i);
            rows_of_c[i] = dkernel + (tap * p->k + first % p->k + c) * p->c->filters;
        }
        for (ptrdiff_t panel = first_panel; panel < last_panel; panel++) {
            const dy_panel d = panel_of_dy(p, t, panel);
            for (ptrdiff_t i = 0; i < height; i++) out[i] = row + i < rows ? rows_of_c[i] + panel_first(p, panel) : nowhere;
            tile.b = d.first;
            tile.b_k = d.step;
            tile.b_next = run * d.step;
            tile.n = d.columns;
            fl_tile_of(p->uk, height, d.width)(&tile);
        }
    }
}

/* One chunk's share of the task's panels, block of channels by block of channels. */
static void run_chunk(const plan *p, const task *t, fl_real *dkernel, int accumulate) {
    const ptrdiff_t ppg = p->panels_per_group, end = fl_ceil_div(t->last_panel, ppg) * p->k;
    const int several = p->k % p->chunks.lane == 0 && p->channel_block % p->k == 0;
    for (ptrdiff_t first = t->first_panel / ppg * p->k, count; first < end; first += count) {
        count = FL_MIN(p->channel_block, several ? end - first : p->k - first % p->k);
        FL(pack_weight_chunk)(&p->chunks, &t->chunk, first, count, t->x);
        for (ptrdiff_t at = 0; at < count; at += p->k) {
            const ptrdiff_t group = (first + at) / p->k;
            run_tiles(p, t, first + at, FL_MIN(count, p->k), at, FL_MAX(t->first_panel, group * ppg),
                      FL_MIN(t->last_panel, (group + 1) * ppg), dkernel, accumulate);
        }
    }
}

static void run_tasks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    for (ptrdiff_t number = begin; number < end; number++) {
        const ptrdiff_t slice = number % p->slices, split = number / p->slices, chunks = p->chunks.count;
        task t = {.first_panel = p->panels * split / p->splits, .last_panel = p->panels * (split + 1) / p->splits,
                  .lists = (const fl_real **)(p->scratch + thread * p->scratch_bytes)};
        t.dy = (fl_real *)((char *)t.lists + lists_bytes(p));
        t.x = t.dy + fl_ceil_div(p->panels, p->splits) * FL_CHUNK_PIXELS * p->uk->nr;
        fl_real *dkernel = p->partial ? p->partial + slice * p->partial_size : p->dkernel;
        fl_real *dbias = p->dbias && p->partial ? dkernel + p->dkernel_size : p->dbias;
        if (dbias)
            for (ptrdiff_t panel = t.first_panel; panel < t.last_panel; panel++)
                memset(dbias + panel_first(p, panel), 0, (size_t)panel_columns(p, panel) * sizeof *dbias);
        for (ptrdiff_t i = chunks * slice / p->slices; i < chunks * (slice + 1) / p->slices; i++) {
            t.chunk = FL(weight_chunk)(&p->chunks, i);
            prepare_dy(p, &t, dbias);
            run_chunk(p, &t, dkernel, i > chunks * slice / p->slices);
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

/* Channels packed at once: of several groups where each begins with a lane of its own, otherwise of one at most. */
static ptrdiff_t channel_block(const plan *p) {
    const ptrdiff_t lane = p->chunks.lane, affordable = FL_X_BYTES / (ptrdiff_t)sizeof(fl_real) / fl_lane_size(&p->chunks) * lane;
    if (p->k % lane == 0 && affordable >= p->k) return affordable / p->k * p->k;
    return FL_MIN(fl_ceil_div(p->k, lane) * lane, FL_MAX(lane, affordable));
}

static plan make_plan(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    plan p = {.c = c, .uk = ukernels[c->isa], .chunks = FL(weight_chunks)(c, x), .dy = dy, .dkernel = dkernel, .dbias = dbias,
              .k = c->channels / c->groups, .n = c->filters / c->groups};
    p.panels_per_group = fl_ceil_div(p.n, p.uk->nr);
    p.panels = c->groups * p.panels_per_group;
    p.dkernel_size = c->window.kh * c->window.kw * p.k * c->filters;
    p.partial_size = p.dkernel_size + (dbias ? c->filters : 0);
    ptrdiff_t affordable = FL_SLICES_BYTES / FL_MAX(1, p.partial_size * (ptrdiff_t)sizeof(fl_real));
    p.slices = FL_MAX(1, FL_MIN(FL_MIN(FL_SLICES, affordable), p.chunks.count));
    p.splits = FL_MIN(p.panels, FL_MAX(fl_ceil_div(MIN_TASKS, p.slices), fl_ceil_div(c->filters, FL_MAX_COLUMNS)));
    p.channel_block = FL_MIN(channel_block(&p), fl_ceil_div(c->channels, p.chunks.lane) * p.chunks.lane);
    const ptrdiff_t x_size = p.channel_block / p.chunks.lane * fl_lane_size(&p.chunks);
    const ptrdiff_t dy_size = fl_ceil_div(p.panels, p.splits) * FL_CHUNK_PIXELS * p.uk->nr;
    p.scratch_bytes = (lists_bytes(&p) + (x_size + dy_size) * (ptrdiff_t)sizeof(fl_real) + 127) / 64 * 64;
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
    int team = fl_team(c->threads, p.slices * p.splits, work);
    const size_t scratch = (size_t)(team * p.scratch_bytes);
    const size_t bytes = scratch + (p.slices > 1 ? (size_t)(p.slices * p.partial_size) * sizeof(fl_real) : 0);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    if (p.slices > 1) p.partial = (fl_real *)(p.scratch + scratch);
    fl_parallel(team, p.slices * p.splits, run_tasks, &p);
    if (p.slices > 1) {
        ptrdiff_t blocks = fl_ceil_div(p.partial_size, REDUCE_BLOCK);
        fl_parallel(FL_MIN(team, blocks), blocks, reduce, &p);
    }
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}
