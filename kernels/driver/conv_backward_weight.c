/* The weight gradient of a convolution.
 *
 *     dkernel(tap, c, o) = sum over output pixels p of  x(p's pixel under the tap, c) dy(p, o)
 *
 * as one product of (tap, c) rows and o columns with the pixels as its depth.  The pixels are cut into chunks, the
 * chunks into a number of slices that depends on the problem alone; each slice is summed by one thread into a gradient
 * of its own, and the slices are added in order.
 *
 *     loop 4   tasks = column split x slice, shared out over the team
 *     loop 3   chunks of the slice: x with its padding and dy are packed for one chunk at a time
 *     loop 2   blocks of channels
 *     loop 1   groups of mr rows (tap, c), then column panels: the register tile, its depth the chunk's pixels
 */
#include "conv_algorithms.h"

#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "gemm_ukernels.h"
#include "panels.h"
#include "parallel.h"

enum {
    LINE = 64,           /* bytes of a cache line: x is packed in columns of so many */
    MIN_TASKS = 8,       /* where the slices alone are fewer, the columns are split */
    REDUCE_BLOCK = 8192, /* elements added by one task at the end */
    MAX_NR = 64,         /* no tile is wider */
};

static const fl_gemm_ukernels *const ukernels[] = {FL_ISA_ROWS(gemm)};

typedef struct {
    const fl_conv *c;
    const fl_gemm_ukernels *uk;
    const fl_real *x, *dy;
    fl_real *dkernel, *dbias;
    ptrdiff_t k, n;                                      /* channels and filters of a group */
    ptrdiff_t chunk_images, chunk_rows, chunk_cols; /* a chunk is part of an image, or several whole ones */
    ptrdiff_t chunks_y, chunks_x;
    ptrdiff_t slices, splits, panels_per_group, panels;
    ptrdiff_t lane;          /* channels side by side in packed x */
    ptrdiff_t channel_block; /* channels packed at once */
    ptrdiff_t x_rows, x_cols; /* pixels of each image under a whole chunk */
    fl_real *partial;       /* [slice][dkernel, then dbias] */
    ptrdiff_t partial_size, dkernel_size;
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

/* What one chunk covers, packed. */
typedef struct {
    ptrdiff_t image, images, row, col, rows, cols; /* output pixels */
    fl_real *x;                                    /* [channel / lane][image][x_rows][x_cols][lane] */
    fl_real *dy;                                   /* [panel][pixel][width], nr places reserved for each pixel */
    const fl_real **runs;                          /* [run of pixels][mr]: where the tile reads x */
} chunk;

static ptrdiff_t chunks_of(const plan *p) { return fl_ceil_div(p->c->batch, p->chunk_images) * p->chunks_y * p->chunks_x; }
static ptrdiff_t runs_bytes(const plan *p) {
    return fl_ceil_div(p->chunk_images * p->chunk_rows * p->uk->mr * (ptrdiff_t)sizeof(void *), LINE) * LINE;
}
static ptrdiff_t pixels_of(const chunk *k) { return k->images * k->rows * k->cols; }

static chunk chunk_number(const plan *p, ptrdiff_t number) {
    const fl_window *w = &p->c->window;
    chunk k = {.image = number / (p->chunks_y * p->chunks_x) * p->chunk_images,
               .row = number / p->chunks_x % p->chunks_y * p->chunk_rows,
               .col = number % p->chunks_x * p->chunk_cols};
    k.images = FL_MIN(p->chunk_images, p->c->batch - k.image);
    k.rows = FL_MIN(p->chunk_rows, w->oh - k.row);
    k.cols = FL_MIN(p->chunk_cols, w->ow - k.col);
    return k;
}

static ptrdiff_t panel_columns(const plan *p, ptrdiff_t panel) {
    return FL_MIN(p->uk->nr, p->n - panel % p->panels_per_group * p->uk->nr);
}
static ptrdiff_t panel_first(const plan *p, ptrdiff_t panel) {
    return panel / p->panels_per_group * p->n + panel % p->panels_per_group * p->uk->nr;
}

static inline void copy(fl_real *to, const fl_real *from, ptrdiff_t count) {
    enum { WHOLE = LINE / sizeof(fl_real) };
    for (; count >= WHOLE; count -= WHOLE, to += WHOLE, from += WHOLE) memcpy(to, from, LINE);
    if (count > 0) memcpy(to, from, (size_t)count * sizeof *to);
}

/* One image row under the chunk, channels [first, first + count): its pixels one after the other, as they lie in memory,
 * each into its place of every lane's column; zeros where the window hangs over the edge. */
static void pack_row(const plan *p, const fl_real *from, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t count, fl_real *to) {
    const ptrdiff_t column = p->chunk_images * p->x_rows * p->x_cols * p->lane; /* from a lane to the next */
    for (ptrdiff_t c = 0; c < count; c += p->lane) {
        memset(to + c / p->lane * column, 0, (size_t)(begin * p->lane) * sizeof *to);
        memset(to + c / p->lane * column + end * p->lane, 0, (size_t)((p->x_cols - end) * p->lane) * sizeof *to);
    }
    if (begin == end) return;
    if (count == p->c->channels && count <= p->lane) {
        memcpy(to + begin * p->lane, from, (size_t)((end - begin) * count) * sizeof *to);
        return;
    }
    for (ptrdiff_t x = begin; x < end; x++, from += p->c->channels) {
        fl_real *pixel = to + x * p->lane;
        for (ptrdiff_t c = 0; c < count; c += p->lane, pixel += column) copy(pixel, from + c, FL_MIN(p->lane, count - c));
    }
}

/* Copy channels [first, first + count) under the chunk. */
static void pack_x(const plan *p, const chunk *k, ptrdiff_t first, ptrdiff_t count) {
    const fl_window *w = &p->c->window;
    const ptrdiff_t y0 = k->row * w->sh - w->top, x0 = k->col * w->sw - w->left;
    const ptrdiff_t begin = FL_MIN(p->x_cols, FL_MAX(0, -x0)), end = FL_MIN(p->x_cols, w->w - x0);
    fl_real *to = k->x;
    for (ptrdiff_t row = 0; row < k->images * p->x_rows; row++, to += p->x_cols * p->lane) {
        const ptrdiff_t image = k->image + row / p->x_rows, y = y0 + row % p->x_rows;
        if (y < 0 || y >= w->h || end <= begin)
            pack_row(p, NULL, p->x_cols, p->x_cols, count, to); /* zeros */
        else
            pack_row(p, p->x + ((image * w->h + y) * w->w + x0 + begin) * p->c->channels + first, begin, end, count, to);
    }
}

static void pack_dy(const plan *p, const chunk *k, ptrdiff_t first_panel, ptrdiff_t last_panel) {
    const fl_window *w = &p->c->window;
    const ptrdiff_t filters = p->c->filters;
    fl_real *to = k->dy;
    for (ptrdiff_t panel = first_panel; panel < last_panel; panel++, to += FL_CHUNK_PIXELS * p->uk->nr) {
        ptrdiff_t columns = panel_columns(p, panel), width = fl_panel_width(p->uk, columns);
        for (ptrdiff_t row = 0; row < k->images * k->rows; row++) {
            ptrdiff_t image = k->image + row / k->rows, y = k->row + row % k->rows, pixel = (image * w->oh + y) * w->ow + k->col;
            FL(pack_panel)(k->cols, columns, p->dy + pixel * filters + panel_first(p, panel), filters, 1,
                           to + row * k->cols * width, width, p->c->isa);
        }
    }
}

/* dbias(o) += sum over the chunk's pixels of dy(pixel, o) */
static void add_bias(const plan *p, const chunk *k, ptrdiff_t first_panel, ptrdiff_t last_panel, fl_real *dbias) {
    const fl_real *from = k->dy;
    for (ptrdiff_t panel = first_panel; panel < last_panel; panel++, from += FL_CHUNK_PIXELS * p->uk->nr) {
        ptrdiff_t columns = panel_columns(p, panel), width = fl_panel_width(p->uk, columns);
        fl_real *sums = dbias + panel_first(p, panel);
        for (ptrdiff_t pixel = 0; pixel < pixels_of(k); pixel++)
            for (ptrdiff_t j = 0; j < columns; j++) sums[j] += from[pixel * width + j];
    }
}

/* Loop 1: rows (tap, c) for channels [first, first + count) of one group, times the panels of that group. */
static void run_tiles(const plan *p, const chunk *k, ptrdiff_t first, ptrdiff_t count, ptrdiff_t first_panel,
                      ptrdiff_t last_panel, const fl_real *dy, fl_real *dkernel, int accumulate) {
    const fl_window *w = &p->c->window;
    const ptrdiff_t mr = p->uk->mr, rows = w->kh * w->kw * count, in_group = first % p->k;
    fl_real nowhere[MAX_NR], *rows_of_c[FL_MAX_MR], *out[FL_MAX_MR];
    const int one_run = w->sh == 1 && k->cols * w->sw == p->x_cols; /* rows of pixels follow each other in packed x */
    const ptrdiff_t runs = one_run ? k->images : k->images * k->rows, run = pixels_of(k) / runs;
    const ptrdiff_t image_size = p->x_rows * p->x_cols * p->lane, row_size = w->sh * p->x_cols * p->lane;
    fl_tile tile = {.taps = runs, .k = run, .a = k->runs, .a_next = mr, .a_k = w->sw * p->lane, .c = out, .accumulate = accumulate};
    for (ptrdiff_t row = 0; row < rows; row += mr) {
        for (ptrdiff_t i = 0; i < mr; i++) {
            ptrdiff_t at = FL_MIN(row + i, rows - 1), tap = at / count, c = at % count; /* past the end: repeat the last */
            ptrdiff_t y = tap / w->kw * w->dh, x = tap % w->kw * w->dw;
            const fl_real *image = k->x + c / p->lane * p->chunk_images * image_size + (y * p->x_cols + x) * p->lane + c % p->lane;
            const fl_real **to = k->runs + i;
            for (ptrdiff_t number = 0; number < k->images; number++, image += image_size)
                for (ptrdiff_t r = 0; r < (one_run ? 1 : k->rows); r++, to += mr) *to = image + r * row_size;
            rows_of_c[i] = dkernel + (tap * p->k + in_group + c) * p->c->filters;
        }
        const fl_real *b = dy;
        for (ptrdiff_t panel = first_panel; panel < last_panel; panel++, b += FL_CHUNK_PIXELS * p->uk->nr) {
            ptrdiff_t columns = panel_columns(p, panel), width = fl_panel_width(p->uk, columns), at = panel_first(p, panel);
            for (ptrdiff_t i = 0; i < mr; i++) out[i] = row + i < rows ? rows_of_c[i] + at : nowhere;
            tile.b = b;
            tile.b_k = width;
            tile.b_next = run * width;
            tile.n = columns;
            fl_tile_of_width(p->uk, width)(&tile);
        }
    }
}

/* One chunk's share of the panels [first_panel, last_panel), group by group. */
static void run_chunk(const plan *p, const chunk *k, ptrdiff_t first_panel, ptrdiff_t last_panel, fl_real *dkernel,
                      int accumulate) {
    pack_dy(p, k, first_panel, last_panel);
    for (ptrdiff_t panel = first_panel; panel < last_panel;) {
        ptrdiff_t group = panel / p->panels_per_group;
        ptrdiff_t end = FL_MIN(last_panel, (group + 1) * p->panels_per_group);
        for (ptrdiff_t c = 0; c < p->k; c += p->channel_block) {
            ptrdiff_t count = FL_MIN(p->channel_block, p->k - c);
            pack_x(p, k, group * p->k + c, count);
            run_tiles(p, k, group * p->k + c, count, panel, end, k->dy + (panel - first_panel) * FL_CHUNK_PIXELS * p->uk->nr,
                      dkernel, accumulate);
        }
        panel = end;
    }
}

static void run_tasks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    for (ptrdiff_t task = begin; task < end; task++) {
        ptrdiff_t slice = task % p->slices, split = task / p->slices;
        ptrdiff_t first_panel = p->panels * split / p->splits, last_panel = p->panels * (split + 1) / p->splits;
        fl_real *dkernel = p->partial ? p->partial + slice * p->partial_size : p->dkernel;
        fl_real *dbias = p->partial ? dkernel + p->dkernel_size : p->dbias;
        ptrdiff_t first = chunks_of(p) * slice / p->slices, last = chunks_of(p) * (slice + 1) / p->slices;
        if (p->dbias)
            for (ptrdiff_t panel = first_panel; panel < last_panel; panel++)
                memset(dbias + panel_first(p, panel), 0, (size_t)panel_columns(p, panel) * sizeof *dbias);
        for (ptrdiff_t number = first; number < last; number++) {
            chunk k = chunk_number(p, number);
            k.runs = (const fl_real **)(p->scratch + thread * p->scratch_bytes);
            k.dy = (fl_real *)((char *)k.runs + runs_bytes(p));
            k.x = k.dy + fl_ceil_div(p->panels, p->splits) * FL_CHUNK_PIXELS * p->uk->nr;
            run_chunk(p, &k, first_panel, last_panel, dkernel, number > first);
            if (p->dbias) add_bias(p, &k, first_panel, last_panel, dbias);
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

static void cut_into_chunks(plan *p) {
    const fl_window *w = &p->c->window;
    p->chunk_cols = FL_MIN(w->ow, FL_CHUNK_PIXELS);
    p->chunk_rows = FL_MIN(w->oh, FL_CHUNK_PIXELS / p->chunk_cols);
    p->chunk_images = FL_MAX(1, FL_MIN(p->c->batch, FL_CHUNK_PIXELS / (w->oh * w->ow)));
    p->chunks_y = fl_ceil_div(w->oh, p->chunk_rows);
    p->chunks_x = fl_ceil_div(w->ow, p->chunk_cols);
    p->x_rows = (p->chunk_rows - 1) * w->sh + (w->kh - 1) * w->dh + 1;
    p->x_cols = (p->chunk_cols - 1) * w->sw + (w->kw - 1) * w->dw + 1;
}

static plan make_plan(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    plan p = {.c = c, .uk = ukernels[c->isa], .x = x, .dy = dy, .dkernel = dkernel, .dbias = dbias,
              .k = c->channels / c->groups, .n = c->filters / c->groups};
    cut_into_chunks(&p);
    p.lane = FL_MAX(1, FL_MIN(p.k, LINE / (ptrdiff_t)sizeof(fl_real)));
    p.panels_per_group = fl_ceil_div(p.n, p.uk->nr);
    p.panels = c->groups * p.panels_per_group;
    p.dkernel_size = c->window.kh * c->window.kw * p.k * c->filters;
    p.partial_size = p.dkernel_size + (dbias ? c->filters : 0);
    ptrdiff_t affordable = FL_SLICES_BYTES / FL_MAX(1, p.partial_size * (ptrdiff_t)sizeof(fl_real));
    p.slices = FL_MAX(1, FL_MIN(FL_MIN(FL_SLICES, affordable), chunks_of(&p)));
    p.splits = FL_MIN(p.panels, FL_MAX(fl_ceil_div(MIN_TASKS, p.slices), fl_ceil_div(c->filters, FL_MAX_COLUMNS)));
    const ptrdiff_t pixels = p.chunk_images * p.x_rows * p.x_cols, lanes = FL_X_BYTES / (ptrdiff_t)sizeof(fl_real) / pixels / p.lane;
    p.channel_block = FL_MIN(fl_ceil_div(p.k, p.lane), FL_MAX(1, lanes)) * p.lane;
    const ptrdiff_t x_size = p.channel_block * pixels;
    ptrdiff_t dy_size = fl_ceil_div(p.panels, p.splits) * FL_CHUNK_PIXELS * p.uk->nr;
    p.scratch_bytes = (runs_bytes(&p) + (x_size + dy_size) * (ptrdiff_t)sizeof(fl_real) + 127) / 64 * 64;
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
