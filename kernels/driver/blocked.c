/* Dense layers as matrix products C = A B, in blocks that stay in the caches.
 *
 *     threads   rows and columns of C shared out, or slices of k; each thread packs for itself, and waits for no other
 *     loop 4    chunks of columns
 *     loop 3    blocks of k: a block of B is packed, and stays in L2
 *     loop 2    strips of rows: a few rows of A at a time are copied to L1
 *     loop 1    panels of columns: the register tile */
#include <stdint.h>
#include <string.h>

#include "activation_ukernels.h"
#include "blocked_ukernels.h"
#include "buffers.h"
#include "dense_algorithms.h"
#include "parallel.h"
#include "sharing.h"
#include "sum_rows_ukernels.h"

enum {
    PACKED_BYTES = 512 << 10, /* of B at work on: with as many of what comes next they stay in L2 */
    ROW_BYTES = 2 << 10,      /* of B, in a block of full depth at most */
    STRIP = 48,               /* rows of C finished at once: a multiple of all tiles */
    MANY_SUMMED = 1024,       /* rows: dW, a sum over more, is cut into slices where */
    FEW_SUMS = 1 << 13,       /* elements could hardly be shared out */
    STREAM_BYTES = 16 << 20,  /* of C: beside what else a product reads, hardly anything would wait in L3 for the next reader */
};

static const fl_blocked_ukernels *const ukernels[] = {FL_ISA_ROWS(blocked)};
static const fl_sum_rows_ukernels *const sums[] = {FL_ISA_ROWS(sum_rows)};
static const fl_activation_ukernels *const activations[] = {FL_ISA_ROWS(activation)};

/* C (m, n) = f( A B + bias ), A(i, k) = a[i * a_row + k * a_k], B(k, j) = b[k * b_k + j * b_col] */
typedef struct {
    ptrdiff_t m, n, k;
    const fl_real *a;
    ptrdiff_t a_row, a_k;
    const fl_real *b;
    ptrdiff_t b_k, b_col;
    fl_real *c;
    const fl_real *bias; /* or NULL */
    int activation;
    fl_real alpha;
    fl_real *b_sums; /* of B's columns, or NULL */
    int isa;
    ptrdiff_t depth;                   /* of a block of B */
    fl_shares shares;                  /* of the threads */
    ptrdiff_t slices;                  /* of k, as the sizes alone decide: more than one only of A B as it is, each */
    fl_real *partial;                  /* [slice][C, then b_sums] for itself, and added in order */
    int stream;                        /* C goes past the caches */
    char *scratch;
    ptrdiff_t scratch_bytes;
} product;

/* ---- one thread ---- */

/* Activations that the tile has not. */
static void finish(const product *p, fl_range rows, fl_range columns) {
    if (p->activation <= FL_RELU) return;
    for (ptrdiff_t i = rows.begin; i < rows.end; i++) {
        fl_real *c = p->c + i * p->n + columns.begin;
        activations[p->isa]->forward[p->activation](columns.end - columns.begin, c, c, p->alpha);
    }
}

/* A block of B: some of its columns, and k. */
typedef struct {
    fl_range columns, k;
} block;

static ptrdiff_t chunk_columns(const product *p) {
    const ptrdiff_t panel = ukernels[p->isa]->panel;
    return PACKED_BYTES / (ptrdiff_t)sizeof(fl_real) / FL_MAX(1, p->depth) / panel * panel;
}

static ptrdiff_t blocks_along_k(const product *p) { return FL_MAX(1, fl_ceil_div(p->k, FL_MAX(1, p->depth))); }

/* Number `i` of the blocks of so many columns in so many chunks; none beyond the last. */
static block block_of(const product *p, fl_range columns, ptrdiff_t chunks, ptrdiff_t i) {
    const ptrdiff_t along_k = blocks_along_k(p), k = i % along_k * p->depth;
    if (i == chunks * along_k) return (block){{0, 0}, {0, 0}};
    fl_range chunk = fl_part(columns.end - columns.begin, ukernels[p->isa]->panel, i / along_k, chunks);
    return (block){{columns.begin + chunk.begin, columns.begin + chunk.end}, {k, FL_MIN(p->k, k + p->depth)}};
}

static const fl_real *start_of(const product *p, const block *b) {
    return p->b + b->k.begin * p->b_k + b->columns.begin * p->b_col;
}

static fl_runs runs_of(const product *p, const block *b) {
    return p->b_col == 1 ? fl_runs_of(fl_size_of(b->k), fl_size_of(b->columns), start_of(p, b), p->b_k)
                         : fl_runs_of(fl_size_of(b->columns), fl_size_of(b->k), start_of(p, b), p->b_col);
}

/* Of A what a block reads, where that is runs too: columns along m. */
static fl_runs runs_of_a(const product *p, fl_range rows, const block *b) {
    if (p->a_row != 1) return (fl_runs){0};
    return fl_runs_of(fl_size_of(b->k), fl_size_of(rows), p->a + rows.begin + b->k.begin * p->a_k, p->a_k);
}

static ptrdiff_t partial_size(const product *p) { return p->m * p->n + (p->b_sums ? p->n : 0); }

/* Add a block's rows of B to the sums of its columns, from cache. */
static void sum_block(const product *p, const block *b) {
    fl_real *to = p->b_sums + b->columns.begin;
    if (b->k.begin == 0) memset(to, 0, (size_t)fl_size_of(b->columns) * sizeof *to);
    sums[p->isa]->add(fl_size_of(b->k), fl_size_of(b->columns), start_of(p, b), p->b_k, to);
}

static void multiply_block(const product *p, fl_range rows, const block *b, const fl_real *packed, fl_runs next[2]) {
    const ptrdiff_t n = fl_size_of(b->columns), depth = fl_size_of(b->k);
    const int last = b->k.end == p->k;
    const fl_block_end end = {.accumulate = b->k.begin > 0, .bias = last && p->bias ? p->bias + b->columns.begin : NULL,
                              .relu = last && p->activation == FL_RELU, .stream = p->stream};
    for (fl_range r = {rows.begin, 0}; r.begin < rows.end; r.begin = r.end) {
        r.end = FL_MIN(rows.end, r.begin + STRIP);
        const fl_real *a = p->a + r.begin * p->a_row + b->k.begin * p->a_k;
        fl_real *c = p->c + r.begin * p->n + b->columns.begin;
        ukernels[p->isa]->product(fl_size_of(r), n, depth, a, p->a_row, p->a_k, packed, c, p->n, &end, rows.end - r.end, next);
        if (last) finish(p, r, b->columns);
    }
}

/* One part of C, block by block. */
static void run_part(const product *p, ptrdiff_t number, fl_real *packed) {
    const fl_blocked_ukernels *uk = ukernels[p->isa];
    const fl_range rows = fl_part(p->m, uk->rows, number / p->shares.column_parts, p->shares.row_parts);
    const fl_range columns = fl_part(p->n, uk->panel, number % p->shares.column_parts, p->shares.column_parts);
    if (fl_size_of(rows) == 0) return;
    const ptrdiff_t chunks = fl_ceil_div(fl_size_of(columns), chunk_columns(p)), blocks = chunks * blocks_along_k(p);
    for (ptrdiff_t i = 0; i < blocks; i++) {
        const block b = block_of(p, columns, chunks, i), after = block_of(p, columns, chunks, i + 1);
        fl_runs next[2] = {runs_of(p, &after), runs_of_a(p, rows, &after)};
        uk->pack(fl_size_of(b.k), fl_size_of(b.columns), start_of(p, &b), p->b_k, p->b_col, packed);
        if (p->b_sums && rows.begin == 0) sum_block(p, &b);
        multiply_block(p, rows, &b, packed, next);
    }
}

/* The product of a slice of k, into a C and sums of its own. */
static product slice_of(const product *p, ptrdiff_t number) {
    if (p->slices == 1) return *p;
    const fl_range k = fl_part(p->k, p->depth, number, p->slices);
    product slice = *p;
    slice.k = fl_size_of(k);
    slice.a += k.begin * p->a_k;
    slice.b += k.begin * p->b_k;
    slice.c = p->partial + number * partial_size(p);
    if (p->b_sums) slice.b_sums = slice.c + p->m * p->n;
    return slice;
}

static void run_parts(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const product *p = job;
    const ptrdiff_t parts = p->shares.row_parts * p->shares.column_parts;
    for (ptrdiff_t number = begin; number < end; number++) {
        const product slice = slice_of(p, number / parts);
        run_part(&slice, number % parts, (fl_real *)(p->scratch + thread * p->scratch_bytes));
    }
}

/* Add the slices, in order. */
static void add_slices(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)begin, (void)end, (void)thread;
    const product *p = job;
    memset(p->c, 0, (size_t)(p->m * p->n) * sizeof *p->c);
    sums[p->isa]->add(p->slices, p->m * p->n, p->partial, partial_size(p), p->c);
    if (!p->b_sums) return;
    memset(p->b_sums, 0, (size_t)p->n * sizeof *p->b_sums);
    sums[p->isa]->add(p->slices, p->n, p->partial + p->m * p->n, partial_size(p), p->b_sums);
}

/* ---- all of them ---- */

/* As deep as so many columns allow, and all of one depth. */
static ptrdiff_t block_depth(const product *p) {
    const ptrdiff_t most = FL_MIN(FL_BLOCKED_DEPTH, PACKED_BYTES / FL_MIN(p->n * (ptrdiff_t)sizeof(fl_real), ROW_BYTES));
    return p->k ? fl_ceil_div(p->k, fl_ceil_div(p->k, most)) : 0;
}

/* A C that the caches would not hold goes past them, if it is written once, in whole lines. */
static int streams(const product *p) {
    const ptrdiff_t row_bytes = p->n * (ptrdiff_t)sizeof(fl_real);
    return p->m * row_bytes >= STREAM_BYTES && row_bytes % FL_LINE == 0 && (uintptr_t)p->c % FL_LINE == 0 && p->k == p->depth &&
           p->activation <= FL_RELU;
}

static int run(const fl_dense *d, product *p) {
    if (p->m == 0 && p->b_sums) sum_block(p, &(block){{0, p->n}, {0, p->k}});
    if (p->m == 0 || p->n == 0) return FL_OK;
    const fl_blocked_ukernels *uk = ukernels[p->isa];
    const ptrdiff_t panels = fl_ceil_div(p->n, uk->panel);
    p->depth = block_depth(p);
    p->slices = FL_MIN(p->slices, blocks_along_k(p));
    const ptrdiff_t tasks = p->slices > 1 ? p->slices : fl_ceil_div(p->m, uk->rows) * panels;
    const int team = fl_team(d->threads, tasks, FL(dense_work)(d));
    p->shares = fl_share_out(p->m, uk->rows, p->n, uk->panel, p->slices > 1 ? 1 : team);
    p->stream = streams(p);
    const ptrdiff_t most = FL_MIN(panels, chunk_columns(p) / uk->panel);
    const ptrdiff_t panel_size = p->depth * uk->panel + FL_BLOCKED_SPACE;
    p->scratch_bytes = fl_ceil_div(most * panel_size * (ptrdiff_t)sizeof(fl_real), 64) * 64;
    const ptrdiff_t partial_bytes = p->slices > 1 ? p->slices * partial_size(p) * (ptrdiff_t)sizeof(fl_real) : 0;
    const size_t bytes = (size_t)(team * p->scratch_bytes + partial_bytes);
    p->scratch = fl_buffer_get(bytes);
    if (!p->scratch) return FL_ENOMEM;
    p->partial = (fl_real *)(p->scratch + team * p->scratch_bytes);
    fl_parallel(team, p->slices * p->shares.row_parts * p->shares.column_parts, run_parts, p);
    if (p->slices > 1) fl_parallel(1, 1, add_slices, p);
    fl_buffer_put(p->scratch, bytes);
    return FL_OK;
}

int FL(blocked_forward)(const fl_dense *d, const void *x, const void *kernel, const void *bias, void *y, int activation,
                        double alpha) {
    product p = {.m = d->rows, .n = d->units, .k = d->inputs, .a = x, .a_row = d->inputs, .a_k = 1,
                 .b = kernel, .b_k = d->units, .b_col = 1, .c = y, .bias = bias, .activation = activation,
                 .alpha = (fl_real)alpha, .slices = 1, .isa = d->isa};
    return run(d, &p);
}

/* dx = dy W^T */
int FL(blocked_backward_input)(const fl_dense *d, const void *dy, const void *kernel, void *dx) {
    product p = {.m = d->rows, .n = d->inputs, .k = d->units, .a = dy, .a_row = d->units, .a_k = 1,
                 .b = kernel, .b_k = 1, .b_col = d->units, .c = dx, .slices = 1, .isa = d->isa};
    return run(d, &p);
}

/* dW = x^T dy, dbias = the sums of dy's columns */
int FL(blocked_backward_weight)(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    product p = {.m = d->inputs, .n = d->units, .k = d->rows, .a = x, .a_row = 1, .a_k = d->inputs,
                 .b = dy, .b_k = d->units, .b_col = 1, .c = dkernel, .b_sums = dbias, .isa = d->isa};
    p.slices = p.k > MANY_SUMMED && p.m * p.n <= FEW_SUMS ? FL_SLICES : 1;
    return run(d, &p);
}
