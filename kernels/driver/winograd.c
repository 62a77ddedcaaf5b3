/* Winograd convolution: an m x m tile of outputs costs p^2 products instead of r^2 m^2 with r x r taps, p = m + r - 1.
 *
 * Each tile's p x p patch becomes p^2 vectors V[xi] over the channels, the weights p^2 matrices U[xi]; the sums
 * V[xi] U[xi] are p^2 ordinary products, and are transformed back into the tile.  Where the kernel is a sum of parts
 * (winograd_tiles.h), each has its V and U, and their products are added before the way back.  Two orders:
 *
 *     by tiles    U for all panels first (one barrier), then blocks of tiles: V, and panel by panel sums and output.
 *     by panels   for few tiles: V for all tiles first (one barrier), then panels: U is made where it is used, in cache.
 */
#include "winograd.h"

#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "burst.h"
#include "gemm_ukernels.h"
#include "panels.h"
#include "parallel.h"
#include "winograd_tiles.h"

enum {
    MAX_XI = FL_WINOGRAD_MAX_POINTS * FL_WINOGRAD_MAX_POINTS,
    MAX_OUT = FL_WINOGRAD_MAX_TILE * FL_WINOGRAD_MAX_TILE,
    V_BYTES = 256 << 10,     /* of a block's V */
    SHARED_BYTES = 12 << 20, /* of the panels whose U is made at once, or of V where it is made for all tiles */
    K_BLOCK = 64,            /* inputs whose weights are transformed at once */
    FEW_TILES = 256,         /* up to so many, U would cost more than it saves ... */
    LARGE_U = 2 << 20,       /* ... unless it stays in cache */
    MIN_TASKS = 16,
};

static const fl_gemm_ukernels *const gemm_ukernels[] = {FL_ISA_ROWS(gemm)};

typedef struct {
    const fl_winograd_problem *g;
    const fl_gemm_ukernels *gemm;
    const fl_winograd_form *form;
    fl_tiling tiling;
    ptrdiff_t taps, xis, tiles;     /* taps of a part, vectors of a tile, tiles of all images */
    ptrdiff_t parts;                /* of the kernel */
    ptrdiff_t panels_per_group, panels, first_panel, chunk_panels;
    ptrdiff_t together;             /* groups whose channels are in V at a time */
    ptrdiff_t k_width, v_width;     /* a row of V: their channels with padding, part by part */
    ptrdiff_t block, blocks, splits; /* tiles of a block */
    int by_panels;
    fl_real *shared;                /* U of the chunk, or V of all tiles */
    ptrdiff_t u_xi, v_xi, s_xi;     /* elements from one xi to the next */
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

static ptrdiff_t group_of(const plan *p, ptrdiff_t panel) { return panel / p->panels_per_group; }
static ptrdiff_t first_in_group(const plan *p, ptrdiff_t panel) { return panel % p->panels_per_group * p->gemm->nr; }
static ptrdiff_t panel_columns(const plan *p, ptrdiff_t panel) { return FL_MIN(p->gemm->nr, p->g->n - first_in_group(p, panel)); }
static ptrdiff_t panel_width(const plan *p, ptrdiff_t panel) { return fl_panel_width(p->gemm, panel_columns(p, panel)); }

/* ---- transforms ---- */

/* V of tile number `tile` for groups [first, first + count), its rows v_xi apart. */
static void transform_tile(const plan *p, ptrdiff_t tile, ptrdiff_t first, ptrdiff_t count, const fl_real *zeros, fl_real *v,
                           ptrdiff_t v_xi) {
    const fl_winograd_problem *g = p->g;
    const fl_tiling *t = &p->tiling;
    const fl_tile_place at = fl_place_of(t, tile);
    const fl_image image = {g->x + (at.image * g->h * g->w * g->groups + first) * g->k, g->h, g->w, g->groups * g->k, zeros};
    const fl_real *pixels[MAX_XI];
    for (ptrdiff_t qy = 0; qy < t->y.parts; qy++)
        for (ptrdiff_t qx = 0; qx < t->x.parts; qx++, v += p->k_width) {
            fl_inputs_of(t, at, qy, qx, g->top, g->left, &image, pixels);
            p->form->input(count * g->k, fl_next_inputs(t, &image), pixels, v, v_xi);
        }
}

/* Inputs [k, k + count) of the taps of a part, row by row of the form's; zeros where it has fewer. */
static void gather_taps(const plan *p, ptrdiff_t part, ptrdiff_t panel, ptrdiff_t k, ptrdiff_t count, fl_real *taps) {
    const fl_winograd_problem *g = p->g;
    const fl_tiling *t = &p->tiling;
    const fl_real *weights = g->weights + group_of(p, panel) * g->w_group + k * g->w_k + first_in_group(p, panel) * g->w_n;
    const ptrdiff_t width = panel_width(p, panel), last = t->y.kernel * t->x.kernel - 1;
    for (ptrdiff_t i = 0; i < t->y.taps; i++)
        for (ptrdiff_t j = 0; j < t->x.taps; j++, taps += count * width) {
            const ptrdiff_t tap = fl_part_tap(t, part, i, j);
            if (tap < 0) memset(taps, 0, (size_t)(count * width) * sizeof *taps);
            else {
                const fl_real *from = weights + (g->flip ? last - tap : tap) * g->w_tap;
                FL(pack_panel)(count, panel_columns(p, panel), from, g->w_k, g->w_n, taps, width, g->isa);
            }
        }
}

/* U of inputs [k0, k1) of one panel: row k of part q at u + q * u_part + (k - k0) * width, xi by xi. */
static void transform_weights(const plan *p, ptrdiff_t panel, ptrdiff_t k0, ptrdiff_t k1, fl_real *taps, fl_real *u, ptrdiff_t u_part) {
    const ptrdiff_t width = panel_width(p, panel);
    for (ptrdiff_t q = 0; q < p->parts; q++)
        for (ptrdiff_t k = k0; k < k1; k += K_BLOCK) {
            const ptrdiff_t count = FL_MIN(K_BLOCK, k1 - k);
            gather_taps(p, q, panel, k, count, taps);
            p->form->weights(count * width, taps, u + q * u_part + (k - k0) * width, p->u_xi);
        }
}

/* Outputs of one tile from its sums. */
static void finish_tile(const plan *p, ptrdiff_t tile, ptrdiff_t panel, const fl_real *sums, fl_real *nowhere) {
    const fl_winograd_problem *g = p->g;
    const fl_tile_place at = fl_place_of(&p->tiling, tile);
    const ptrdiff_t first = group_of(p, panel) * g->n + first_in_group(p, panel), filters = g->groups * g->n;
    const fl_image image = {g->y + at.image * g->oh * g->ow * filters + first, g->oh, g->ow, filters, nowhere};
    fl_real *y[MAX_OUT];
    fl_outputs_of(&p->tiling, at, &image, (const fl_real **)y);
    p->form->output(panel_columns(p, panel), fl_next_outputs(&p->tiling, &image), sums, p->s_xi, g->bias ? g->bias + first : NULL,
                    g->activation, g->alpha, y);
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

/* sums[xi] = (or +=) V[xi] U[xi] for the tiles that room points at and the inputs of V from k0 on, with which u starts. */
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
        const ptrdiff_t split = task / p->blocks, first = task % p->blocks * p->block, tiles = FL_MIN(p->block, p->tiles - first);
        const ptrdiff_t last_panel = p->first_panel + p->chunk_panels * (split + 1) / p->splits;
        ptrdiff_t panel = p->first_panel + p->chunk_panels * split / p->splits;
        point_rows(p, tiles, v, &r);
        while (panel < last_panel) {
            const ptrdiff_t group = group_of(p, panel), groups = FL_MIN(p->together, group_of(p, last_panel - 1) + 1 - group);
            for (ptrdiff_t tile = 0; tile < tiles; tile++)
                transform_tile(p, first + tile, group, groups, r.zeros, v + tile * p->v_width, p->v_xi);
            for (; panel < last_panel && group_of(p, panel) < group + groups; panel++) {
                const ptrdiff_t width = panel_width(p, panel), k = p->g->k;
                const fl_real *u = p->shared + (panel - p->first_panel) * p->xis * p->u_xi;
                multiply(p, panel, tiles, (group_of(p, panel) - group) * k, k, u, k * width, &r, sums, 0);
                for (ptrdiff_t tile = 0; tile < tiles; tile++) finish_tile(p, first + tile, panel, sums + tile * width, r.nowhere);
            }
        }
    }
}

/* ---- by panels ---- */

static void make_v(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const room r = room_of(p, thread);
    for (ptrdiff_t tile = begin; tile < end; tile++) transform_tile(p, tile, 0, 1, r.zeros, p->shared + tile * p->v_width, p->v_xi);
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

static plan make_plan(const fl_winograd_problem *g, const fl_winograd_form *form) {
    plan p = {.g = g, .form = form, .gemm = gemm_ukernels[g->isa]};
    p.tiling = fl_tiling_of(form, g->window, g->oh, g->ow);
    p.taps = p.tiling.y.taps * p.tiling.x.taps;
    p.xis = p.tiling.y.points * p.tiling.x.points;
    p.parts = fl_tiling_parts(&p.tiling);
    const ptrdiff_t nr = p.gemm->nr, mr = p.gemm->mr, real = sizeof(fl_real);
    p.tiles = g->batch * p.tiling.along_y * p.tiling.along_x;
    p.panels_per_group = fl_ceil_div(g->n, nr);
    p.panels = g->groups * p.panels_per_group;
    p.together = FL_MAX(1, FL_MIN(g->groups, FL_WINOGRAD_TOGETHER / g->k));
    const ptrdiff_t runs = fl_ceil_div(g->groups, p.together), channels = p.together * g->k;
    p.k_width = fl_ceil_div(channels, 16) * 16 + (channels >= 48 ? 16 : 0);
    p.v_width = p.parts * p.k_width;
    const ptrdiff_t u_bytes = p.xis * p.parts * g->k * g->n * real, v_bytes = p.xis * p.tiles * p.v_width * real;
    p.by_panels = g->groups == 1 && p.tiles <= FEW_TILES && p.panels >= 4 && u_bytes > LARGE_U && v_bytes <= SHARED_BYTES;
    ptrdiff_t u_size = p.parts * g->k * nr + FL_WINOGRAD_PAD, reals = p.k_width + FL_MAX_NR;
    if (p.by_panels) {
        p.chunk_panels = p.panels;
        p.u_xi = p.parts * FL_MIN(g->k, K_BLOCK) * nr + FL_WINOGRAD_PAD;
        p.v_xi = p.tiles * p.v_width + FL_WINOGRAD_PAD;
        p.block = p.tiles;
        p.s_xi = whole_groups(&p, p.tiles) * nr + FL_WINOGRAD_PAD;
        reals += p.taps * K_BLOCK * nr + p.xis * (p.u_xi + p.s_xi);
    } else {
        p.chunk_panels = FL_MAX(1, FL_MIN(p.panels, SHARED_BYTES / (p.xis * u_size * real)));
        p.block = FL_MIN(V_BYTES / (p.xis * p.v_width * real), fl_ceil_div(p.tiles * runs, MIN_TASKS));
        p.block = FL_MAX(mr, p.block / mr * mr);
        p.blocks = fl_ceil_div(p.tiles, p.block);
        p.splits = FL_MIN(p.chunk_panels, FL_MAX(runs, fl_ceil_div(MIN_TASKS, FL_MAX(1, p.blocks))));
        p.u_xi = u_size;
        p.v_xi = p.block * p.v_width + FL_WINOGRAD_PAD;
        p.s_xi = p.block * nr + FL_WINOGRAD_PAD;
        reals = FL_MAX(reals + p.xis * (p.v_xi + p.s_xi), p.taps * K_BLOCK * nr);
    }
    const ptrdiff_t pointers = 2 * whole_groups(&p, p.block) * (ptrdiff_t)sizeof(void *);
    p.scratch_bytes = fl_ceil_div(pointers + reals * real, 64) * 64;
    return p;
}

int FL(winograd_convolution)(const fl_winograd_problem *g, const fl_winograd_form *form) {
    plan p = make_plan(g, form);
    if (p.tiles == 0) return FL_OK;
    const double work = 2.0 * (double)(p.tiles * fl_tiling_products(&p.tiling)) * (double)(g->groups * g->k) * (double)g->n;
    const ptrdiff_t tasks = p.by_panels ? p.panels : p.blocks * p.splits;
    const int alone = work < FL_WAKE_WORK; /* what one thread transforms, another would have to fetch */
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
