/* Gathered rows times weights, tap by tap: see gather.h for the problem.  Each tap adds a matrix product,
 *
 *     y(its pixels, :) += x(what they read, :) W(tap)
 *
 * whose rows are those pixels alone that the tap finds inside the image, in blocks that stay in the caches.
 *
 *     threads   pixels and columns of y shared out; each thread packs for itself, and waits for no other
 *     loop 5    blocks of pixels
 *     loop 4    chunks of columns
 *     loop 3    taps, and blocks of channels: such a block of weights is packed, and stays in L2
 *     loop 2    strips of pixels: a few at a time are copied to L1, so that their distance in x does not matter
 *     loop 1    panels of columns: the register tile */
#include <string.h>

#include "activation_codes.h"
#include "blocked_ukernels.h"
#include "buffers.h"
#include "gather.h"
#include "parallel.h"
#include "sharing.h"
#include "skinny_ukernels.h"

enum {
    PACKED_BYTES = 512 << 10, /* of weights at work on: with as many of what comes next they stay in L2 */
    MOST_PIXELS = 512,        /* of a block: enough to pay for packing, few enough that sums stay near */
};

static const fl_blocked_ukernels *const ukernels[] = {FL_ISA_ROWS(blocked)};
static const fl_skinny_ukernels *const epilogues[] = {FL_ISA_ROWS(skinny)};

typedef struct {
    const fl_gather *g;
    const fl_blocked_ukernels *uk;
    ptrdiff_t depth, columns; /* of a block of weights: channels, and columns at most */
    ptrdiff_t along_k;        /* such blocks of a tap */
    int team;
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

/* ---- one thread ---- */

/* The pixels of a grid that a tap finds inside the image. */
typedef struct {
    ptrdiff_t count;
    const fl_real **from; /* where they read, */
    fl_real **to;         /* and where their results go */
} pixel_list;

/* A pixel of a grid: its number, and where it lies. */
typedef struct {
    ptrdiff_t number, image, r, c;
} pixel;

static pixel pixel_of(const fl_grid *grid, ptrdiff_t number) {
    const ptrdiff_t row = number / grid->cols;
    return (pixel){number, row / grid->rows, row % grid->rows, number % grid->cols};
}
static void advance(const fl_grid *grid, pixel *p) {
    p->number++;
    if (++p->c == grid->cols) p->c = 0, p->r++;
    if (p->r == grid->rows) p->r = 0, p->image++;
}

static fl_real *row_of_y(const fl_gather *g, const fl_grid *grid, pixel p) {
    return g->y + p.image * g->y_image + grid->out_offset + p.r * grid->out_row + p.c * grid->out_col;
}

static void list_pixels(const fl_gather *g, const fl_grid *grid, fl_range pixels, ptrdiff_t tap, pixel_list *list) {
    const ptrdiff_t tap_y = grid->tap_y[tap / grid->taps_x], tap_x = grid->tap_x[tap % grid->taps_x];
    list->count = 0;
    for (pixel p = pixel_of(grid, pixels.begin); p.number < pixels.end; advance(grid, &p)) {
        const ptrdiff_t y = p.r * grid->y_step + tap_y, x = p.c * grid->x_step + tap_x;
        if (y < 0 || y >= g->h || x < 0 || x >= g->w) continue;
        list->from[list->count] = g->x + ((p.image * g->h + y) * g->w + x) * g->channels;
        list->to[list->count++] = row_of_y(g, grid, p);
    }
}

static void clear(const fl_gather *g, const fl_grid *grid, fl_range pixels, fl_range columns) {
    for (pixel p = pixel_of(grid, pixels.begin); p.number < pixels.end; advance(grid, &p))
        memset(row_of_y(g, grid, p) + columns.begin, 0, (size_t)fl_size_of(columns) * sizeof(fl_real));
}

static void finish(const fl_gather *g, const fl_grid *grid, fl_range pixels, fl_range columns) {
    if (!g->bias && g->activation == FL_LINEAR) return;
    const fl_real *bias = g->bias ? g->bias + columns.begin : NULL;
    for (pixel p = pixel_of(grid, pixels.begin); p.number < pixels.end; advance(grid, &p)) {
        fl_real *y = row_of_y(g, grid, p) + columns.begin;
        epilogues[g->isa]->finish(fl_size_of(columns), y, bias, y, g->activation, g->alpha);
    }
}

/* A block of weights: of some columns, one tap and some channels. */
typedef struct {
    fl_range columns, k;
    ptrdiff_t tap;
    int first, last; /* of its columns */
} block;

/* Number `i` of the blocks of so many columns in so many chunks; none beyond the last. */
static block block_of(const plan *p, const fl_grid *grid, fl_range columns, ptrdiff_t chunks, ptrdiff_t i) {
    const ptrdiff_t of_chunk = fl_grid_taps(grid) * p->along_k;
    if (i == chunks * of_chunk) return (block){.first = 0};
    const fl_range chunk = fl_part(fl_size_of(columns), p->uk->panel, i / of_chunk, chunks);
    const ptrdiff_t in_chunk = i % of_chunk, k = in_chunk % p->along_k * p->depth;
    return (block){.columns = {columns.begin + chunk.begin, columns.begin + chunk.end}, .k = {k, FL_MIN(p->g->k, k + p->depth)},
                   .tap = in_chunk / p->along_k, .first = in_chunk == 0, .last = in_chunk == of_chunk - 1};
}

static const fl_real *weights_of(const fl_gather *g, const fl_grid *grid, const block *b) {
    const ptrdiff_t tap = grid->weight_y[b->tap / grid->taps_x] + grid->weight_x[b->tap % grid->taps_x];
    return g->weights + tap * g->w_tap + b->k.begin * g->w_k + b->columns.begin * g->w_n;
}
static fl_runs runs_of(const fl_gather *g, const fl_grid *grid, const block *b) {
    const fl_real *w = weights_of(g, grid, b);
    return g->w_n == 1 ? fl_runs_of(fl_size_of(b->k), fl_size_of(b->columns), w, g->w_k)
                       : fl_runs_of(fl_size_of(b->columns), fl_size_of(b->k), w, g->w_n);
}

/* Loops 4 and 3. */
static void run_pixels(const plan *p, const fl_grid *grid, fl_range pixels, fl_range columns, pixel_list *list, fl_real *packed) {
    const fl_gather *g = p->g;
    const ptrdiff_t chunks = fl_ceil_div(fl_size_of(columns), p->columns);
    const ptrdiff_t blocks = chunks * fl_grid_taps(grid) * p->along_k;
    for (ptrdiff_t i = 0; i < blocks; i++) {
        const block b = block_of(p, grid, columns, chunks, i), after = block_of(p, grid, columns, chunks, i + 1);
        fl_runs next = runs_of(g, grid, &after);
        if (b.first) clear(g, grid, pixels, b.columns);
        if (b.k.begin == 0) list_pixels(g, grid, pixels, b.tap, list);
        if (list->count) {
            p->uk->pack(fl_size_of(b.k), fl_size_of(b.columns), weights_of(g, grid, &b), g->w_k, g->w_n, packed);
            p->uk->gathered(list->count, fl_size_of(b.columns), fl_size_of(b.k), list->from, b.k.begin, packed, list->to,
                            b.columns.begin, &next);
        }
        if (b.last) finish(g, grid, pixels, b.columns);
    }
}

/* Loop 5, of one part of a grid. */
static void run_part(const plan *p, const fl_grid *grid, ptrdiff_t number, pixel_list *list, fl_real *packed) {
    const ptrdiff_t all = fl_grid_pixels(p->g, grid);
    const fl_shares shares = fl_share_out(all, p->uk->rows, p->g->n, p->uk->panel, p->team);
    const fl_range pixels = fl_part(all, p->uk->rows, number / shares.column_parts, shares.row_parts);
    const fl_range columns = fl_part(p->g->n, p->uk->panel, number % shares.column_parts, shares.column_parts);
    const ptrdiff_t blocks = fl_ceil_div(fl_size_of(pixels), MOST_PIXELS);
    for (ptrdiff_t i = 0; i < blocks; i++) {
        const fl_range some = fl_part(fl_size_of(pixels), 1, i, blocks);
        run_pixels(p, grid, (fl_range){pixels.begin + some.begin, pixels.begin + some.end}, columns, list, packed);
    }
}

static void run_parts(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    pixel_list list = {.from = (const fl_real **)(p->scratch + thread * p->scratch_bytes)};
    list.to = (fl_real **)(list.from + MOST_PIXELS);
    fl_real *packed = (fl_real *)(list.to + MOST_PIXELS);
    for (ptrdiff_t number = begin; number < end; number++)
        for (ptrdiff_t i = 0; i < p->g->grid_count; i++) run_part(p, &p->g->grids[i], number, &list, packed);
}

/* ---- all of them ---- */

static plan make_plan(const fl_gather *g) {
    plan p = {.g = g, .uk = ukernels[g->isa]};
    p.along_k = FL_MAX(1, fl_ceil_div(g->k, FL_BLOCKED_DEPTH));
    p.depth = FL_MAX(1, fl_ceil_div(g->k, p.along_k));
    p.columns = PACKED_BYTES / (ptrdiff_t)sizeof(fl_real) / p.depth / p.uk->panel * p.uk->panel;
    const ptrdiff_t panels = fl_ceil_div(FL_MIN(p.columns, g->n), p.uk->panel);
    const ptrdiff_t packed = panels * (p.depth * p.uk->panel + FL_BLOCKED_SPACE) * (ptrdiff_t)sizeof(fl_real);
    p.scratch_bytes = fl_ceil_div(2 * MOST_PIXELS * (ptrdiff_t)sizeof(void *) + packed, FL_LINE) * FL_LINE;
    return p;
}

int FL(tapwise)(const fl_gather *g) {
    plan p = make_plan(g);
    double work = 0;
    ptrdiff_t tiles = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) {
        const ptrdiff_t pixels = fl_grid_pixels(g, &g->grids[i]);
        work += 2.0 * (double)(pixels * fl_grid_taps(&g->grids[i])) * (double)(g->k * g->n);
        tiles = FL_MAX(tiles, fl_ceil_div(pixels, p.uk->rows) * fl_ceil_div(g->n, p.uk->panel));
    }
    if (tiles == 0) return FL_OK;
    p.team = fl_team(g->threads, tiles, work);
    const size_t bytes = (size_t)(p.team * p.scratch_bytes);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    fl_parallel(p.team, p.team, run_parts, &p);
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}
