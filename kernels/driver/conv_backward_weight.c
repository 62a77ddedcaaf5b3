/* The weight gradient of a convolution.
 *
 *     dkernel(tap, c, o) = sum over output pixels p of  x(p's pixel under the tap, c) dy(p, o)
 *
 * as one product of (tap, c) rows and o columns with the pixels as its depth.  The pixels are cut into chunks, the
 * chunks into a number of slices that depends on the problem alone; each slice is summed by one thread into a gradient
 * of its own, and the slices are added in order.
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
#include "sum_rows_ukernels.h"
#include "weight_chunks.h"

enum {
    MIN_TASKS = 8,       /* enough for any team to share */
    PART_ROWS = 512,     /* rows (tap, c) of a part of the channels: they pay for packing dy once more */
    REDUCE_BLOCK = 8192, /* elements added by one task at the end */
    PACKED_PIXELS = 16,  /* of dy, packed for all panels before the next */
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
    ptrdiff_t panels_per_group, panels;
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

/* Elements from one packed panel of dy to the next: a line more than they need, so as not to lie a power of two apart. */
static ptrdiff_t dy_panel_size(const plan *p) { return FL_CHUNK_PIXELS * p->uk->nr + FL_LINE / (ptrdiff_t)sizeof(fl_real); }

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

/* Pack dy where needed, and add it to dbias unless that is NULL. */
static void prepare_dy(const plan *p, const task *t, fl_real *dbias) {
    pack_dy(p, t);
    for (ptrdiff_t panel = t->first_panel; dbias && panel < t->last_panel; panel++) {
        const dy_panel d = panel_of_dy(p, t, panel);
        sums[p->c->isa]->add(t->chunk.pixels, d.columns, d.first, d.step, dbias + panel_first(p, panel));
    }
}

/* Pointers to the runs of a row of the chunk that begins at x: one where they lie a fixed step apart, otherwise `lists`. */
static void list_runs(const plan *p, const task *t, const fl_real *x, ptrdiff_t lists, const fl_real **to) {
    const fl_weight_chunks *s = &p->chunks;
    if (lists == 1) {
        *to = x;
        return;
    }
    for (ptrdiff_t number = 0; number < t->chunk.images; number++, x += s->x_rows * s->x_cols * s->lane)
        for (ptrdiff_t r = 0; r < lists / t->chunk.images; r++, to += p->uk->mr) *to = x + r * s->step_y * s->x_cols * s->lane;
}

/* Loop 1: rows (tap, c) for channels [first, first + count) of a group, packed from x on, times the task's panels of it. */
static void run_tiles(const plan *p, const task *t, ptrdiff_t group, ptrdiff_t first, ptrdiff_t count, const fl_real *x,
                      fl_real *dkernel, int accumulate) {
    const fl_weight_chunks *s = &p->chunks;
    const fl_weight_chunk *k = &t->chunk;
    const ptrdiff_t mr = p->uk->mr, rows = p->c->window.kh * p->c->window.kw * count;
    const ptrdiff_t first_panel = FL_MAX(t->first_panel, group * p->panels_per_group);
    const ptrdiff_t last_panel = FL_MIN(t->last_panel, (group + 1) * p->panels_per_group);
    fl_real nowhere[FL_MAX_NR], *rows_of_c[FL_MAX_MR], *out[FL_MAX_MR];
    const int one_run = s->step_y == 1 && k->cols * s->step_x == s->x_cols; /* rows of pixels follow each other in packed x */
    const ptrdiff_t runs = one_run ? k->images : k->images * k->rows, run = k->pixels / runs, lists = k->images == 1 ? 1 : runs;
    fl_tile tile = {.taps = runs, .k = run, .a = t->lists, .a_next = lists == 1 ? 0 : mr, .a_k = s->step_x * s->lane, .c = out,
                    .a_step = lists == 1 ? s->step_y * s->x_cols * s->lane : 0, .accumulate = accumulate};
    fl_weight_row at = {0};
    for (ptrdiff_t row = 0, height; row < rows; row += height) {
        height = fl_tile_rows(p->uk, rows - row);
        for (ptrdiff_t i = 0; i < height; i++) {
            list_runs(p, t, x + at.pixel + at.lane + at.in_lane, lists, t->lists + i);
            rows_of_c[i] = dkernel + (at.tap * p->k + first + at.c) * p->c->filters;
            if (row + i + 1 < rows) fl_next_weight_row(s, count, &at); /* past the end: the last row again */
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

/* One chunk's share of the task, block of channels by block of channels. */
static void run_chunk(const plan *p, const task *t, fl_real *dkernel, int accumulate) {
    const ptrdiff_t last = fl_ceil_div(t->last_panel, p->panels_per_group);
    for (ptrdiff_t group = t->first_panel / p->panels_per_group, groups; group < last; group += groups) {
        groups = FL_MIN(p->groups_together, last - group);
        for (ptrdiff_t c = t->first_channel, count; c < t->last_channel; c += count) {
            count = FL_MIN(p->channel_block, t->last_channel - c);
            FL(pack_weight_chunk)(&p->chunks, &t->chunk, group * p->k + c, (groups - 1) * p->k + count, t->x);
            for (ptrdiff_t i = 0; i < groups; i++)
                run_tiles(p, t, group + i, c, count, t->x + i * p->k / p->chunks.lane * fl_lane_size(&p->chunks), dkernel,
                          accumulate);
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
                  .lists = (const fl_real **)(p->scratch + thread * p->scratch_bytes)};
        t.dy = (fl_real *)((char *)t.lists + lists_bytes(p));
        t.x = t.dy + fl_ceil_div(p->panels, p->column_parts) * dy_panel_size(p);
        fl_real *dkernel = p->partial ? p->partial + slice * p->partial_size : p->dkernel;
        fl_real *dbias = p->dbias && p->partial ? dkernel + p->dkernel_size : p->dbias;
        if (channels > 0) dbias = NULL; /* the first part's */
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

/* Tasks enough for any team.  Parts of the channels come first: each packs dy anew, which many rows (tap, c) pay for, but they
 * need no sum at the end, and their part of dkernel stays in L2.  Then slices of the pixels, as far as memory allows. */
static void share_out(plan *p) {
    const fl_conv *c = p->c;
    const ptrdiff_t lanes = fl_ceil_div(p->k, p->chunks.lane), taps = c->window.kh * c->window.kw;
    const ptrdiff_t affordable = FL_SLICES_BYTES / FL_MAX(1, p->partial_size * (ptrdiff_t)sizeof(fl_real));
    const ptrdiff_t most = FL_MAX(1, FL_MIN(FL_MIN(FL_SLICES, affordable), p->chunks.count));
    const ptrdiff_t of_groups = FL_MIN(c->groups, fl_ceil_div(MIN_TASKS, most));
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

static plan make_plan(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    plan p = {.c = c, .uk = ukernels[c->isa], .chunks = FL(weight_chunks)(c, x), .dy = dy, .dkernel = dkernel, .dbias = dbias,
              .k = c->channels / c->groups, .n = c->filters / c->groups};
    p.panels_per_group = fl_ceil_div(p.n, p.uk->nr);
    p.panels = c->groups * p.panels_per_group;
    p.dkernel_size = c->window.kh * c->window.kw * p.k * c->filters;
    p.partial_size = p.dkernel_size + (dbias ? c->filters : 0);
    share_out(&p);
    block_channels(&p);
    const ptrdiff_t x_size = fl_ceil_div(p.channel_block * p.groups_together, p.chunks.lane) * fl_lane_size(&p.chunks);
    const ptrdiff_t dy_size = fl_ceil_div(p.panels, p.column_parts) * dy_panel_size(&p);
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
