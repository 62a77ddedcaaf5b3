/* Winograd convolution: an m x m tile of outputs costs p^2 products instead of r^2 m^2 with r x r taps, p = m + r - 1.
 *
 * Each tile's p x p patch becomes p^2 vectors V[xi] over the channels, the weights p^2 matrices U[xi]; the sums
 * V[xi] U[xi] are p^2 ordinary products, and are transformed back into the tile.  Where the kernel is a sum of parts
 * (winograd_tiles.h), each has its V and U, and their products are added before the way back.  Two orders:
 *
 *     by tiles    U for all panels first (one barrier), then blocks of tiles: V, and panel by panel sums and output.
 *     by panels   for few tiles: V for all tiles first (one barrier), then panels: U is made where it is used, in cache.
 */
#include "conv_algorithms.h"

#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "burst.h"
#include "gemm_ukernels.h"
#include "panels.h"
#include "parallel.h"
#include "winograd_tiles.h"
#include "winograd_ukernels.h"

enum {
    MAX_XI = FL_WINOGRAD_MAX_POINTS * FL_WINOGRAD_MAX_POINTS,
    MAX_OUT = FL_WINOGRAD_MAX_TILE * FL_WINOGRAD_MAX_TILE,
    V_BYTES = 256 << 10,     /* of a block's V */
    SHARED_BYTES = 12 << 20, /* of the panels whose U is made at once, or of V where it is made for all tiles */
    K_BLOCK = 64,            /* inputs whose weights are transformed at once */
    PAD = 80,                /* elements between the xi matrices: their streams must not share cache sets */
    FEW_TILES = 256,         /* up to so many, U would cost more than it saves ... */
    LARGE_U = 2 << 20,       /* ... unless it stays in cache */
    MIN_TASKS = 16,
};

/* Either pass of a convolution, as one problem. */
typedef struct {
    const fl_real *x; /* (batch, h, w, k) */
    ptrdiff_t batch, h, w, k;
    const fl_real *weights; /* element (tap, k, j): weights[tap * w_tap + k * w_k + j * w_n] */
    ptrdiff_t w_tap, w_k, w_n;
    int flip; /* the first tap uses the last weights, and so on */
    fl_real *y; /* (batch, oh, ow, n); tap (i, j) of pixel (r, c) reads x at (r * sh - top + i * dh, c * sw - left + j * dw) */
    ptrdiff_t oh, ow, n, top, left;
    const fl_window *window; /* for the kernel's size, stride and dilation */
    const fl_real *bias;
    fl_real alpha;
    int activation, isa, threads;
} problem;

static const fl_gemm_ukernels *const gemm_ukernels[] = {FL_ISA_ROWS(gemm)};
static const fl_winograd_ukernels *const winograd_ukernels[] = {FL_ISA_ROWS(winograd)};

typedef struct {
    const problem *g;
    const fl_gemm_ukernels *gemm;
    const fl_winograd_form *form;
    fl_tiling tiling;
    ptrdiff_t taps, xis, tiles;     /* taps of a part, vectors of a tile, tiles of all images */
    ptrdiff_t parts;                /* of the kernel */
    ptrdiff_t panels, first_panel, chunk_panels;
    ptrdiff_t k_width, v_width;     /* a row of V: channels with padding, part by part */
    ptrdiff_t block, blocks, splits; /* tiles of a block */
    int by_panels;
    fl_real *shared;                /* U of the chunk, or V of all tiles */
    ptrdiff_t u_xi, v_xi, s_xi;     /* elements from one xi to the next */
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

static ptrdiff_t panel_columns(const plan *p, ptrdiff_t panel) { return FL_MIN(p->gemm->nr, p->g->n - panel * p->gemm->nr); }
static ptrdiff_t panel_width(const plan *p, ptrdiff_t panel) { return fl_panel_width(p->gemm, panel_columns(p, panel)); }

/* ---- transforms ---- */

/* V of tile number `tile`, its rows v_xi apart. */
static void transform_tile(const plan *p, ptrdiff_t tile, const fl_real *zeros, fl_real *v, ptrdiff_t v_xi) {
    const problem *g = p->g;
    const fl_tiling *t = &p->tiling;
    const fl_tile_place at = fl_place_of(t, tile);
    const fl_image image = {g->x + at.image * g->h * g->w * g->k, g->h, g->w, g->k, zeros};
    const fl_real *pixels[MAX_XI];
    for (ptrdiff_t qy = 0; qy < t->y.parts; qy++)
        for (ptrdiff_t qx = 0; qx < t->x.parts; qx++, v += p->k_width) {
            fl_inputs_of(t, at, qy, qx, g->top, g->left, &image, pixels);
            p->form->input(g->k, fl_next_inputs(t, &image), pixels, v, v_xi);
        }
}

/* Inputs [k, k + count) of the taps of a part, row by row of the form's; zeros where it has fewer. */
static void gather_taps(const plan *p, ptrdiff_t qy, ptrdiff_t qx, ptrdiff_t panel, ptrdiff_t k, ptrdiff_t count, fl_real *taps) {
    const problem *g = p->g;
    const fl_axis *y = &p->tiling.y, *x = &p->tiling.x;
    const ptrdiff_t size = count * panel_width(p, panel), all = y->kernel * x->kernel;
    for (ptrdiff_t i = 0; i < y->taps; i++)
        for (ptrdiff_t j = 0; j < x->taps; j++, taps += size) {
            const ptrdiff_t tap = (y->first[qy] + i * y->stride) * x->kernel + x->first[qx] + j * x->stride;
            const fl_real *from = g->weights + (g->flip ? all - 1 - tap : tap) * g->w_tap + k * g->w_k + panel * p->gemm->nr * g->w_n;
            if (i < y->count[qy] && j < x->count[qx])
                FL(pack_panel)(count, panel_columns(p, panel), from, g->w_k, g->w_n, taps, panel_width(p, panel), g->isa);
            else memset(taps, 0, (size_t)size * sizeof *taps);
        }
}

/* U of inputs [k0, k1) of one panel: row k of part q at u + q * u_part + (k - k0) * width, xi by xi. */
static void transform_weights(const plan *p, ptrdiff_t panel, ptrdiff_t k0, ptrdiff_t k1, fl_real *taps, fl_real *u, ptrdiff_t u_part) {
    const ptrdiff_t width = panel_width(p, panel);
    for (ptrdiff_t q = 0; q < p->parts; q++)
        for (ptrdiff_t k = k0; k < k1; k += K_BLOCK) {
            const ptrdiff_t count = FL_MIN(K_BLOCK, k1 - k);
            gather_taps(p, q / p->tiling.x.parts, q % p->tiling.x.parts, panel, k, count, taps);
            p->form->weights(count * width, taps, u + q * u_part + (k - k0) * width, p->u_xi);
        }
}

/* Outputs of one tile from its sums. */
static void finish_tile(const plan *p, ptrdiff_t tile, ptrdiff_t panel, const fl_real *sums, fl_real *nowhere) {
    const problem *g = p->g;
    const fl_tile_place at = fl_place_of(&p->tiling, tile);
    const ptrdiff_t first = panel * p->gemm->nr;
    const fl_image image = {g->y + at.image * g->oh * g->ow * g->n + first, g->oh, g->ow, g->n, nowhere};
    fl_real *y[MAX_OUT];
    fl_outputs_of(&p->tiling, at, &image, (const fl_real **)y);
    p->form->output(panel_columns(p, panel), sums, p->s_xi, g->bias ? g->bias + first : NULL, g->activation, g->alpha, y);
}

/* What one thread works with: the rows of V and of the sums for the tiles at hand, in groups of mr. */
typedef struct {
    const fl_real **rows;
    fl_real **out, *zeros, *nowhere, *rest;
} room;

static ptrdiff_t whole_groups(const plan *p, ptrdiff_t tiles) { return fl_ceil_div(tiles, p->gemm->mr) * p->gemm->mr; }

static room room_of(const plan *p, int thread) {
    room r = {.rows = (const fl_real **)(p->scratch + thread * p->scratch_bytes)};
    r.out = (fl_real **)(r.rows + whole_groups(p, p->block));
    r.zeros = (fl_real *)(r.out + whole_groups(p, p->block));
    r.nowhere = r.zeros + p->k_width;
    r.rest = r.nowhere + FL_MAX_NR;
    memset(r.zeros, 0, (size_t)p->k_width * sizeof *r.zeros);
    return r;
}

/* A row past the end reads the last one again; the sums have room for it. */
static void point_rows(const plan *p, ptrdiff_t tiles, const fl_real *v, const room *r) {
    for (ptrdiff_t i = 0; i < whole_groups(p, tiles); i++) r->rows[i] = v + FL_MIN(i, tiles - 1) * p->v_width;
}

/* sums[xi] = (or +=) V[xi] U[xi] for the tiles that room points at and inputs [k0, k0 + depth), with which u starts. */
static void multiply(const plan *p, ptrdiff_t panel, ptrdiff_t tiles, ptrdiff_t k0, ptrdiff_t depth, const fl_real *u, ptrdiff_t u_part,
                     const room *r, fl_real *sums, int accumulate) {
    const fl_axis *y = &p->tiling.y, *x = &p->tiling.x;
    const ptrdiff_t width = panel_width(p, panel);
    for (ptrdiff_t i = 0; i < whole_groups(p, tiles); i++) r->out[i] = sums + i * width;
    for (ptrdiff_t xi = 0; xi < p->xis; xi++)
        for (ptrdiff_t qy = 0; qy < fl_parts_at(y, xi / x->points); qy++) {
            const ptrdiff_t q = qy * x->parts;
            fl_tile t = {.taps = fl_parts_at(x, xi % x->points), .k = depth, .a_offset = xi * p->v_xi + q * p->k_width + k0,
                         .a_step = p->k_width, .a_k = 1, .b = u + xi * p->u_xi + q * u_part, .b_next = u_part, .b_k = width,
                         .c_offset = xi * p->s_xi, .n = width, .accumulate = accumulate || qy > 0};
            for (ptrdiff_t tile = 0, rows; tile < tiles; tile += rows) {
                rows = fl_tile_rows(p->gemm, tiles - tile);
                t.a = r->rows + tile;
                t.c = r->out + tile;
                if (p->by_panels) /* V of all tiles is far away */
                    for (ptrdiff_t qx = 0; qx < t.taps; qx++)
                        fl_prefetch_rows(FL_MIN(p->gemm->mr, tiles - tile - rows), t.a + rows, t.a_offset + qx * t.a_step, depth);
                fl_tile_of(p->gemm, rows, width)(&t);
            }
        }
}

/* ---- by tiles ---- */

static void make_u(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const ptrdiff_t blocks = fl_ceil_div(p->g->k, K_BLOCK);
    for (ptrdiff_t task = begin; task < end; task++) {
        ptrdiff_t panel = task / blocks, k0 = task % blocks * K_BLOCK, width = panel_width(p, p->first_panel + panel);
        fl_real *u = p->shared + panel * p->xis * p->u_xi + k0 * width;
        fl_real *taps = (fl_real *)(p->scratch + thread * p->scratch_bytes);
        transform_weights(p, p->first_panel + panel, k0, FL_MIN(p->g->k, k0 + K_BLOCK), taps, u, p->g->k * width);
    }
}

static void run_blocks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const room r = room_of(p, thread);
    fl_real *v = r.rest, *sums = v + p->xis * p->v_xi;
    for (ptrdiff_t task = begin; task < end; task++) {
        ptrdiff_t first = task / p->splits * p->block, tiles = FL_MIN(p->block, p->tiles - first), split = task % p->splits;
        for (ptrdiff_t tile = 0; tile < tiles; tile++) transform_tile(p, first + tile, r.zeros, v + tile * p->v_width, p->v_xi);
        point_rows(p, tiles, v, &r);
        for (ptrdiff_t panel = p->chunk_panels * split / p->splits; panel < p->chunk_panels * (split + 1) / p->splits; panel++) {
            ptrdiff_t number = p->first_panel + panel;
            const ptrdiff_t u_part = p->g->k * panel_width(p, number);
            multiply(p, number, tiles, 0, p->g->k, p->shared + panel * p->xis * p->u_xi, u_part, &r, sums, 0);
            for (ptrdiff_t tile = 0; tile < tiles; tile++)
                finish_tile(p, first + tile, number, sums + tile * panel_width(p, number), r.nowhere);
        }
    }
}

/* ---- by panels ---- */

static void make_v(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const room r = room_of(p, thread);
    for (ptrdiff_t tile = begin; tile < end; tile++) transform_tile(p, tile, r.zeros, p->shared + tile * p->v_width, p->v_xi);
}

static void run_panels(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const ptrdiff_t nr = p->gemm->nr;
    const room r = room_of(p, thread);
    fl_real *taps = r.rest, *u = taps + p->taps * K_BLOCK * nr, *sums = u + p->xis * p->u_xi;
    point_rows(p, p->tiles, p->shared, &r);
    for (ptrdiff_t panel = begin; panel < end; panel++) {
        for (ptrdiff_t k = 0; k < p->g->k; k += K_BLOCK) {
            const ptrdiff_t count = FL_MIN(K_BLOCK, p->g->k - k), u_part = count * panel_width(p, panel);
            transform_weights(p, panel, k, k + count, taps, u, u_part);
            multiply(p, panel, p->tiles, k, count, u, u_part, &r, sums, k > 0);
        }
        for (ptrdiff_t tile = 0; tile < p->tiles; tile++) finish_tile(p, tile, panel, sums + tile * panel_width(p, panel), r.nowhere);
    }
}

/* ---- plan ---- */

static plan make_plan(const problem *g, const fl_winograd_form *form) {
    plan p = {.g = g, .form = form, .gemm = gemm_ukernels[g->isa]};
    p.tiling = fl_tiling_of(form, g->window, g->oh, g->ow);
    p.taps = p.tiling.y.taps * p.tiling.x.taps;
    p.xis = p.tiling.y.points * p.tiling.x.points;
    p.parts = fl_tiling_parts(&p.tiling);
    const ptrdiff_t nr = p.gemm->nr, mr = p.gemm->mr, real = sizeof(fl_real);
    p.tiles = g->batch * p.tiling.along_y * p.tiling.along_x;
    p.panels = fl_ceil_div(g->n, nr);
    p.k_width = fl_ceil_div(g->k, 16) * 16 + (g->k >= 48 ? 16 : 0);
    p.v_width = p.parts * p.k_width;
    const ptrdiff_t u_bytes = p.xis * p.parts * g->k * g->n * real, v_bytes = p.xis * p.tiles * p.v_width * real;
    p.by_panels = p.tiles <= FEW_TILES && p.panels >= 4 && u_bytes > LARGE_U && v_bytes <= SHARED_BYTES;
    ptrdiff_t u_size = p.parts * g->k * nr + PAD, reals = p.k_width + FL_MAX_NR;
    if (p.by_panels) {
        p.chunk_panels = p.panels;
        p.u_xi = p.parts * FL_MIN(g->k, K_BLOCK) * nr + PAD;
        p.v_xi = p.tiles * p.v_width + PAD;
        p.block = p.tiles;
        p.s_xi = whole_groups(&p, p.tiles) * nr + PAD;
        reals += p.taps * K_BLOCK * nr + p.xis * (p.u_xi + p.s_xi);
    } else {
        p.chunk_panels = FL_MAX(1, FL_MIN(p.panels, SHARED_BYTES / (p.xis * u_size * real)));
        p.block = FL_MIN(V_BYTES / (p.xis * p.v_width * real), fl_ceil_div(p.tiles, MIN_TASKS));
        p.block = FL_MAX(mr, p.block / mr * mr);
        p.blocks = fl_ceil_div(p.tiles, p.block);
        p.splits = FL_MIN(p.chunk_panels, fl_ceil_div(MIN_TASKS, FL_MAX(1, p.blocks)));
        p.u_xi = u_size;
        p.v_xi = p.block * p.v_width + PAD;
        p.s_xi = p.block * nr + PAD;
        reals = FL_MAX(reals + p.xis * (p.v_xi + p.s_xi), p.taps * K_BLOCK * nr);
    }
    const ptrdiff_t pointers = 2 * whole_groups(&p, p.block) * (ptrdiff_t)sizeof(void *);
    p.scratch_bytes = fl_ceil_div(pointers + reals * real, 64) * 64;
    return p;
}

static int run(const problem *g, const fl_winograd_form *form) {
    plan p = make_plan(g, form);
    if (p.tiles == 0) return FL_OK;
    const double work = 2.0 * (double)(p.tiles * fl_tiling_products(&p.tiling)) * (double)g->k * (double)g->n;
    const ptrdiff_t tasks = p.by_panels ? p.panels : p.blocks * p.splits;
    /* where work is small, a U that one thread makes is not worth fetching for another */
    const int alone = p.chunk_panels * fl_ceil_div(g->k, K_BLOCK) == 1 && work < FL_WAKE_WORK;
    const int team = fl_team(g->threads, tasks, alone ? 0 : work);
    const ptrdiff_t shared = p.by_panels ? p.xis * p.v_xi : p.chunk_panels * p.xis * p.u_xi;
    const size_t scratch = (size_t)(team * p.scratch_bytes), bytes = scratch + (size_t)shared * sizeof(fl_real);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    p.shared = (fl_real *)(p.scratch + scratch);
    if (p.by_panels) {
        fl_parallel(FL_MIN(team, p.tiles), p.tiles, make_v, &p);
        fl_parallel(team, tasks, run_panels, &p);
    } else {
        const ptrdiff_t most = p.chunk_panels;
        for (; p.first_panel < p.panels; p.first_panel += most) {
            p.chunk_panels = FL_MIN(most, p.panels - p.first_panel);
            p.splits = FL_MIN(p.splits, p.chunk_panels);
            ptrdiff_t blocks = p.chunk_panels * fl_ceil_div(g->k, K_BLOCK);
            fl_parallel(FL_MIN(team, blocks), blocks, make_u, &p);
            fl_parallel(team, p.blocks * p.splits, run_blocks, &p);
        }
    }
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}

static int forward(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y, int activation, double alpha,
                   const fl_winograd_form *form) {
    const fl_window *w = &c->window;
    const problem g = {.x = x, .batch = c->batch, .h = w->h, .w = w->w, .k = c->channels,
                       .weights = kernel, .w_tap = c->channels * c->filters, .w_k = c->filters, .w_n = 1,
                       .y = y, .oh = w->oh, .ow = w->ow, .n = c->filters,
                       .top = w->top, .left = w->left, .window = w,
                       .bias = bias, .activation = activation, .alpha = (fl_real)alpha, .isa = c->isa, .threads = c->threads};
    return run(&g, form);
}

/* dx is, without a stride, the convolution of dy with the kernel turned by half a circle, padded so that it has x's size. */
static int backward_input(const fl_conv *c, const void *dy, const void *kernel, void *dx, const fl_winograd_form *form) {
    const fl_window *w = &c->window;
    const ptrdiff_t reach_y = (w->kh - 1) * w->dh, reach_x = (w->kw - 1) * w->dw;
    const problem g = {.x = dy, .batch = c->batch, .h = w->oh, .w = w->ow, .k = c->filters,
                       .weights = kernel, .w_tap = c->channels * c->filters, .w_k = 1, .w_n = c->filters, .flip = 1,
                       .y = dx, .oh = w->h, .ow = w->w, .n = c->channels,
                       .top = reach_y - w->top, .left = reach_x - w->left, .window = w,
                       .isa = c->isa, .threads = c->threads};
    return run(&g, form);
}

#define FORWARD(form)                                                                                                    \
    int FL(winograd_##form##_forward)(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y,    \
                                      int activation, double alpha) {                                                    \
        return forward(c, x, kernel, bias, y, activation, alpha, &winograd_ukernels[c->isa]->form);                      \
    }
#define BACKWARD_INPUT(form)                                                                                             \
    int FL(winograd_##form##_backward_input)(const fl_conv *c, const void *dy, const void *kernel, void *dx) {           \
        return backward_input(c, dy, kernel, dx, &winograd_ukernels[c->isa]->form);                                      \
    }
FORWARD(f2)
FORWARD(f4)
FORWARD(f2_5x5)
FORWARD(f4_2x2)
FORWARD(f3_1x4)
BACKWARD_INPUT(f2)
BACKWARD_INPUT(f4)
BACKWARD_INPUT(f2_5x5)
BACKWARD_INPUT(f3_1x4)
