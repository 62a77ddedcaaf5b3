/* The weight gradient by Winograd: m x m tiles of dy slide over patches of x, p = m + r - 1 wide where there are r x r taps.
 *
 * With V[xi] (tiles x channels) and Z[xi] (tiles x filters), the transforms of patches and of dy's tiles, the sums
 * S[xi] = V[xi]^T Z[xi] (channels x filters) are p^2 ordinary products with the tiles as their depth.  Two orders:
 *
 *     slices    where S is small: each slice of the tiles, a number that depends on the problem alone, keeps an S of its own
 *               and transforms block after block of tiles in cache; the slices are added in order at the end.  Where not even
 *               that would stay in cache, half of the xi are done at a time.  Of many groups, a few take their turn: a run.
 *     ranges    where S is large: V and Z of many tiles first, then ranges of channels, each with a small part of S; nothing is
 *               split, so nothing is added, but for one batch of tiles after the other.
 *
 * Where the kernel is a sum of parts (winograd_tiles.h), each has its V and its S: V holds one part after the other, Z is shared.
 *
 * The bias gradient is the sum of dy, which the transform of a tile leaves as a row of its own behind Z.
 */
#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "conv_algorithms.h"
#include "gemm_ukernels.h"
#include "parallel.h"
#include "sum_rows_ukernels.h"
#include "winograd_ukernels.h"
#include "winograd_weight.h"

enum {
    MAX_XI = FL_WINOGRAD_MAX_POINTS * FL_WINOGRAD_MAX_POINTS,
    BLOCK_TILES = 48,       /* tiles transformed at once by a slice: V and Z of few channels stay in L2 */
    LARGE_S = 384 << 10,    /* above, half of the xi are done at a time, which reads x and dy twice but keeps to L2 */
    MIN_SLICE = 96,         /* tiles of a slice, at least */
    RANGE_ROWS = 48,        /* channels of a range */
    BATCH_BYTES = 12 << 20, /* of V and Z: few batches, since each reads and writes dW */
};

static const fl_gemm_ukernels *const gemm_ukernels[] = {FL_ISA_ROWS(gemm)};
static const fl_winograd_ukernels *const winograd_ukernels[] = {FL_ISA_ROWS(winograd)};
static const fl_sum_rows_ukernels *const sum_rows_ukernels[] = {FL_ISA_ROWS(sum_rows)};

typedef fl_winograd_sums plan;

/* Groups that take their turn together. */
typedef struct {
    ptrdiff_t first, count;
} groups;

/* Rows number `row` of V, for one part of the kernel, and of Z, unless it is NULL, from tile number `tile`. */
static void transform_tile(const plan *p, groups of, ptrdiff_t half, ptrdiff_t tile, ptrdiff_t part, const fl_real *zeros, fl_real *v,
                           fl_real *z, ptrdiff_t row) {
    const fl_conv *c = p->c;
    const fl_window *w = &c->window;
    const fl_tiling *t = &p->tiling;
    const fl_tile_place at = fl_place_of(t, tile);
    const fl_image x = {p->x + at.image * w->h * w->w * c->channels + of.first * p->k, w->h, w->w, c->channels, zeros};
    const fl_image dy = {p->dy + at.image * w->oh * w->ow * c->filters + of.first * p->n, w->oh, w->ow, c->filters, zeros};
    const fl_real *pixels[MAX_XI];
    fl_inputs_of(t, at, part / t->x.parts, part % t->x.parts, w->top, w->left, &x, pixels);
    p->input[half](of.count * p->k, fl_next_inputs(t, &x), pixels, v + row * p->v_width, v_xi(p));
    if (!z) return;
    fl_outputs_of(t, at, &dy, pixels);
    p->tile_gradient[half](of.count * p->n, fl_next_outputs(t, &dy), pixels, z + row * p->z_width, z_xi(p));
}

/* S[xi] (+)= V[xi]^T Z[xi] for channels [c0, c1) of a part and panels [first, last) of one group; v and z start at the first xi
 * of the half and the group's columns, sums at the first xi of all, c0 of the part and the first panel. */
static void multiply(const plan *p, ptrdiff_t half, ptrdiff_t part, ptrdiff_t tiles, const fl_real *v, const fl_real *z, ptrdiff_t c0,
                     ptrdiff_t c1, ptrdiff_t first, ptrdiff_t last, fl_real *sums, int accumulate) {
    const ptrdiff_t nr = p->gemm->nr;
    fl_real nowhere[FL_MAX_NR];
    for (ptrdiff_t xi = first_xi(p, half); xi < first_xi(p, half + 1); xi++, v += v_xi(p), z += z_xi(p)) {
        if (!fl_part_has(&p->tiling, part, xi)) continue;
        for (ptrdiff_t row = c0, mr; row < c1; row += mr) {
            mr = fl_tile_rows(p->gemm, c1 - row);
            const fl_real *in[FL_MAX_MR];
            fl_real *out[FL_MAX_MR];
            for (ptrdiff_t i = 0; i < mr; i++) in[i] = v + FL_MIN(row + i, c1 - 1); /* past the end: the last row again, for nothing */
            for (ptrdiff_t panel = first; panel < last; panel++) {
                const ptrdiff_t width = fl_panel_width(p->gemm, p->n - panel * nr);
                for (ptrdiff_t i = 0; i < mr; i++) {
                    fl_real *to = sums + xi * p->s_xi + (row + i - c0) * p->s_width + (panel - first) * nr;
                    out[i] = row + i < c1 ? to : nowhere;
                }
                const fl_tile t = {.taps = 1, .k = tiles, .a = in, .a_k = p->v_width, .b = z + panel * nr,
                                   .b_k = p->z_width, .c = out, .n = width, .accumulate = accumulate};
                fl_tile_of(p->gemm, mr, width)(&t);
            }
        }
    }
}

/* dW of one channel and the columns of one panel of a group, for the taps of a part, from sums over all tiles so far. */
static void finish(const plan *p, ptrdiff_t part, ptrdiff_t group, ptrdiff_t channel, ptrdiff_t panel, const fl_real *sums,
                   int accumulate) {
    const ptrdiff_t nr = p->gemm->nr, columns = FL_MIN(nr, p->n - panel * nr), first = group * p->n + panel * nr;
    const fl_axis *y = &p->tiling.y, *x = &p->tiling.x;
    fl_real nowhere[FL_MAX_NR] = {0}, *dw[FL_WINOGRAD_MAX_TAPS * FL_WINOGRAD_MAX_TAPS];
    for (ptrdiff_t i = 0; i < y->taps; i++)
        for (ptrdiff_t j = 0; j < x->taps; j++) {
            const ptrdiff_t tap = fl_part_tap(&p->tiling, part, i, j);
            dw[i * x->taps + j] = tap < 0 ? nowhere : p->dkernel + (tap * p->k + channel) * p->c->filters + first;
        }
    p->form->weights_gradient(columns, sums, p->s_xi, p->slices, p->xis * p->s_xi, dw, accumulate);
}

/* Add the sums of dy's tiles, which lie behind the matrices of Z, to the bias gradient of filters [first, first + count). */
static void add_bias(const plan *p, ptrdiff_t tiles, const fl_real *z, ptrdiff_t first, ptrdiff_t count,
                     fl_real *dbias, int accumulate) {
    const fl_real *sums = z + held_xis(p, 0) * z_xi(p);
    if (!accumulate) memset(dbias + first, 0, (size_t)count * sizeof *dbias);
    sum_rows_ukernels[p->c->isa]->add(tiles, count, sums + first, p->z_width, dbias + first);
}

/* ---- slices ---- */

/* S of a slice of a run of groups. */
static fl_real *sums_of(const plan *p, ptrdiff_t run, ptrdiff_t slice) { return p->shared + (run * p->slices + slice) * p->xis * p->s_xi; }

/* Rows of such an S: those of a group follow each other, and so do the groups of a part. */
static ptrdiff_t row_of(const plan *p, ptrdiff_t part, ptrdiff_t group) { return (part * p->together + group) * p->k * p->s_width; }

/* One pass over the tiles of a slice, for half of the xi or all. */
static void run_pass(const plan *p, ptrdiff_t run, ptrdiff_t slice, ptrdiff_t half, const fl_real *zeros, fl_real *v, fl_real *z) {
    const ptrdiff_t first = p->tiles * slice / p->slices, last = p->tiles * (slice + 1) / p->slices;
    const groups of = {run * p->together, FL_MIN(p->together, p->c->groups - run * p->together)};
    fl_real *sums = sums_of(p, run, slice);
    for (ptrdiff_t tile = first; tile < last; tile += p->block) {
        const ptrdiff_t count = FL_MIN(p->block, last - tile);
        for (ptrdiff_t part = 0; part < p->parts; part++) {
            for (ptrdiff_t i = 0; i < count; i++) transform_tile(p, of, half, tile + i, part, zeros, v, part == 0 ? z : NULL, i);
            for (ptrdiff_t i = 0; i < of.count; i++)
                multiply(p, half, part, count, v + i * p->k, z + i * p->n, 0, p->k, 0, p->panels, sums + row_of(p, part, i), tile > first);
        }
        if (p->dbias && half == 0)
            add_bias(p, count, z, 0, of.count * p->n, p->slice_bias + slice * p->c->filters + of.first * p->n, tile > first);
    }
}

static void run_slices(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    fl_real *zeros = scratch_of(p, thread), *v = zeros + FL_MAX(p->v_width, p->z_width), *z = v + held_xis(p, p->halves - 1) * v_xi(p);
    memset(zeros, 0, (size_t)(v - zeros) * sizeof *zeros);
    for (ptrdiff_t task = begin; task < end; task++)
        for (ptrdiff_t half = 0; half < p->halves; half++) run_pass(p, task / p->slices, task % p->slices, half, zeros, v, z);
}

static void finish_slices(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const plan *p = job;
    const ptrdiff_t channels = p->c->channels;
    for (ptrdiff_t row = begin; row < end; row++) {
        const ptrdiff_t part = row / channels, group = row % channels / p->k, channel = row % p->k;
        const fl_real *sums = sums_of(p, group / p->together, 0) + row_of(p, part, group % p->together) + channel * p->s_width;
        for (ptrdiff_t panel = 0; panel < p->panels; panel++)
            finish(p, part, group, channel, panel, sums + panel * p->gemm->nr, 0);
    }
    if (p->dbias && begin == 0) {
        memset(p->dbias, 0, (size_t)p->c->filters * sizeof *p->dbias);
        sum_rows_ukernels[p->c->isa]->add(p->slices, p->c->filters, p->slice_bias, p->c->filters, p->dbias);
    }
}

/* ---- ranges ---- */

static void transform_batch(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    fl_real *zeros = scratch_of(p, thread);
    memset(zeros, 0, (size_t)FL_MAX(p->v_width, p->z_width) * sizeof *zeros);
    fl_real *z = p->part == 0 ? p->shared + p->xis * v_xi(p) : NULL; /* the same for all parts */
    const groups all = {0, p->c->groups};
    for (ptrdiff_t i = begin; i < end; i++) transform_tile(p, all, 0, p->first_tile + i, p->part, zeros, p->shared, z, i);
}

static void run_ranges(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    fl_real *sums = scratch_of(p, thread);
    const ptrdiff_t tiles = FL_MIN(p->block, p->tiles - p->first_tile);
    const fl_real *v = p->shared, *z = v + p->xis * v_xi(p);
    const ptrdiff_t columns = p->c->groups * p->panels;
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t c0 = task / columns * p->range_rows, c1 = FL_MIN(p->k, c0 + p->range_rows);
        const ptrdiff_t group = task % columns / p->panels, panel = task % p->panels;
        multiply(p, 0, p->part, tiles, v + group * p->k, z + group * p->n, c0, c1, panel, panel + 1, sums, 0);
        for (ptrdiff_t channel = c0; channel < c1; channel++)
            finish(p, p->part, group, channel, panel, sums + (channel - c0) * p->s_width, p->first_tile > 0);
        if (p->dbias && p->part == 0 && c0 == 0) {
            ptrdiff_t first = panel * p->gemm->nr, count = FL_MIN(p->gemm->nr, p->n - first);
            add_bias(p, tiles, z, group * p->n + first, count, p->dbias, p->first_tile > 0);
        }
    }
}

/* ---- plan ---- */

/* Long rows get a little more, so that they do not lie a power of two apart. */
static ptrdiff_t padded(ptrdiff_t width) { return width + (width >= 48 ? 16 : 0); }

static plan make_plan(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias, const fl_winograd_form *form) {
    const fl_window *w = &c->window;
    plan p = {.c = c, .gemm = gemm_ukernels[c->isa], .form = form, .x = x, .dy = dy, .dkernel = dkernel, .dbias = dbias};
    const ptrdiff_t nr = p.gemm->nr, real = sizeof(fl_real);
    p.tiling = fl_tiling_of(form, w, w->oh, w->ow);
    p.xis = p.tiling.y.points * p.tiling.x.points;
    p.parts = fl_tiling_parts(&p.tiling);
    p.tiles = c->batch * p.tiling.along_y * p.tiling.along_x;
    p.k = c->channels / c->groups;
    p.n = c->filters / c->groups;
    p.together = FL_MAX(1, FL_MIN(c->groups, FL_WINOGRAD_TOGETHER / FL_MAX(p.k, p.n)));
    p.runs = fl_ceil_div(c->groups, p.together);
    p.panels = fl_ceil_div(p.n, nr);
    p.s_width = (p.panels - 1) * nr + fl_panel_width(p.gemm, p.n - (p.panels - 1) * nr);
    p.s_xi = p.parts * p.together * p.k * p.s_width + FL_WINOGRAD_PAD;
    const ptrdiff_t s_bytes = p.xis * p.s_xi * real, affordable = FL_SLICES_BYTES / (p.runs * s_bytes);
    const int large = s_bytes > LARGE_S;
    p.slices = FL_MIN(FL_MIN(fl_ceil_div(FL_SLICES, p.runs), affordable), p.tiles / MIN_SLICE);
    if (p.slices < 2 || (large && p.parts > 1)) p.slices = 1;
    p.by_slices = p.slices > 1 || (c->groups > 1 && affordable > 0);
    const ptrdiff_t held = p.by_slices ? p.together : c->groups, narrow = p.gemm->nr_narrow;
    p.v_width = padded(fl_ceil_div(held * p.k, 16) * 16);
    p.z_width = padded(FL_MAX((held - 1) * p.n + p.s_width, fl_ceil_div(held * p.n, narrow) * narrow));
    const ptrdiff_t tile_reals = p.xis * (p.v_width + p.z_width) + p.z_width, zeros = FL_MAX(p.v_width, p.z_width);
    p.halves = p.by_slices && large ? 2 : 1;
    for (int half = 0; half < 2; half++) {
        p.input[half] = p.halves == 2 ? form->half_input[half] : form->input;
        p.tile_gradient[half] = p.halves == 2 ? form->half_gradient[half] : form->gradient;
    }
    if (p.by_slices) {
        p.block = BLOCK_TILES;
        const ptrdiff_t most = held_xis(&p, p.halves - 1);
        p.scratch_bytes = fl_ceil_div((zeros + most * v_xi(&p) + (most + 1) * z_xi(&p)) * real, 64) * 64;
    } else {
        p.block = FL_MAX(1, FL_MIN(p.tiles, BATCH_BYTES / (tile_reals * real)));
        p.range_rows = FL_MIN(p.k, RANGE_ROWS);
        p.ranges = fl_ceil_div(p.k, p.range_rows);
        p.s_width = nr;
        p.s_xi = p.range_rows * nr + FL_WINOGRAD_PAD;
        p.scratch_bytes = fl_ceil_div(FL_MAX(zeros, p.xis * p.s_xi) * real, 64) * 64;
    }
    return p;
}

static int run(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias, const fl_winograd_form *form) {
    if (c->batch == 0) return FL(direct_backward_weight)(c, x, dy, dkernel, dbias);
    plan p = make_plan(c, x, dy, dkernel, dbias, form);
    const double work = 2.0 * (double)(p.tiles * fl_tiling_products(&p.tiling)) * (double)c->channels * (double)p.n;
    const ptrdiff_t tasks = p.by_slices ? p.runs * p.slices : p.ranges * c->groups * p.panels;
    const int team = fl_team(c->threads, tasks, work);
    const ptrdiff_t sums = p.runs * p.slices * p.xis * p.s_xi, transforms = p.xis * v_xi(&p) + (p.xis + 1) * z_xi(&p);
    const ptrdiff_t shared = p.by_slices ? sums + p.slices * c->filters : transforms;
    const size_t scratch = (size_t)(team * p.scratch_bytes), bytes = scratch + (size_t)shared * sizeof(fl_real);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    p.shared = (fl_real *)(p.scratch + scratch);
    p.slice_bias = p.shared + sums;
    if (p.by_slices) {
        fl_parallel(team, tasks, run_slices, &p);
        fl_parallel(FL_MIN(team, p.parts * c->channels), p.parts * c->channels, finish_slices, &p);
    } else {
        for (; p.first_tile < p.tiles; p.first_tile += p.block) {
            const ptrdiff_t tiles = FL_MIN(p.block, p.tiles - p.first_tile);
            for (p.part = 0; p.part < p.parts; p.part++) {
                fl_parallel(FL_MIN(team, tiles), tiles, transform_batch, &p);
                fl_parallel(team, tasks, run_ranges, &p);
            }
        }
    }
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}

#define PASS(form)                                                                                                           \
    int FL(winograd_##form##_backward_weight)(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) { \
        return run(c, x, dy, dkernel, dbias, &winograd_ukernels[c->isa]->form);                                              \
    }
PASS(f2)
PASS(f4)
PASS(f2_5x5)
PASS(f4_2x2)
PASS(f3_1x4)
