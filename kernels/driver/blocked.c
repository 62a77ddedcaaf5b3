/* Dense layers as matrix products C = A B, in blocks that stay in the caches.
 *
 *     threads   rows and columns of C shared out; each thread packs for itself, and waits for no other
 *     loop 4    chunks of columns
 *     loop 3    blocks of k: a block of B is packed, and stays in L2
 *     loop 2    strips of rows: a few rows of A at a time are copied to L1
 *     loop 1    panels of columns: the register tile */
#include <string.h>

#include "activation_codes.h"
#include "blocked_ukernels.h"
#include "buffers.h"
#include "dense_algorithms.h"
#include "parallel.h"
#include "sharing.h"
#include "skinny_ukernels.h"
#include "sum_rows_ukernels.h"

enum {
    PACKED_BYTES = 512 << 10, /* of B at work on: with as many of what comes next they stay in L2 */
    ROW_BYTES = 2 << 10,      /* of B, in a block of full depth at most */
    STRIP = 48,               /* rows of C finished at once: a multiple of all tiles */
};

static const fl_blocked_ukernels *const ukernels[] = {FL_ISA_ROWS(blocked)};
static const fl_sum_rows_ukernels *const sums[] = {FL_ISA_ROWS(sum_rows)};
static const fl_skinny_ukernels *const epilogues[] = {FL_ISA_ROWS(skinny)};

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
    char *scratch;
    ptrdiff_t scratch_bytes;
} product;

/* ---- one thread ---- */

static void finish(const product *p, fl_range rows, fl_range columns) {
    if (!p->bias && p->activation == FL_LINEAR) return;
    for (ptrdiff_t i = rows.begin; i < rows.end; i++) {
        fl_real *c = p->c + i * p->n + columns.begin;
        const fl_real *bias = p->bias ? p->bias + columns.begin : NULL;
        epilogues[p->isa]->finish(columns.end - columns.begin, c, bias, c, p->activation, p->alpha);
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

/* Add a block's rows of B to the sums of its columns, from cache. */
static void sum_block(const product *p, const block *b) {
    fl_real *to = p->b_sums + b->columns.begin;
    if (b->k.begin == 0) memset(to, 0, (size_t)fl_size_of(b->columns) * sizeof *to);
    sums[p->isa]->add(fl_size_of(b->k), fl_size_of(b->columns), start_of(p, b), p->b_k, to);
}

static void multiply_block(const product *p, fl_range rows, const block *b, const fl_real *packed, fl_runs next[2]) {
    const ptrdiff_t n = fl_size_of(b->columns), depth = fl_size_of(b->k);
    for (fl_range r = {rows.begin, 0}; r.begin < rows.end; r.begin = r.end) {
        r.end = FL_MIN(rows.end, r.begin + STRIP);
        const fl_real *a = p->a + r.begin * p->a_row + b->k.begin * p->a_k;
        fl_real *c = p->c + r.begin * p->n + b->columns.begin;
        ukernels[p->isa]->product(fl_size_of(r), n, depth, a, p->a_row, p->a_k, packed, c, p->n, b->k.begin > 0, rows.end - r.end,
                                  next);
        if (b->k.end == p->k) finish(p, r, b->columns);
    }
}

static void run_parts(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const product *p = job;
    const fl_blocked_ukernels *uk = ukernels[p->isa];
    fl_real *packed = (fl_real *)(p->scratch + thread * p->scratch_bytes);
    for (ptrdiff_t number = begin; number < end; number++) {
        const fl_range rows = fl_part(p->m, uk->rows, number / p->shares.column_parts, p->shares.row_parts);
        const fl_range columns = fl_part(p->n, uk->panel, number % p->shares.column_parts, p->shares.column_parts);
        if (fl_size_of(rows) == 0) continue;
        const ptrdiff_t chunks = fl_ceil_div(fl_size_of(columns), chunk_columns(p)), blocks = chunks * blocks_along_k(p);
        for (ptrdiff_t i = 0; i < blocks; i++) {
            const block b = block_of(p, columns, chunks, i), after = block_of(p, columns, chunks, i + 1);
            fl_runs next[2] = {runs_of(p, &after), runs_of_a(p, rows, &after)};
            uk->pack(fl_size_of(b.k), fl_size_of(b.columns), start_of(p, &b), p->b_k, p->b_col, packed);
            if (p->b_sums && rows.begin == 0) sum_block(p, &b);
            multiply_block(p, rows, &b, packed, next);
        }
    }
}

/* ---- all of them ---- */

/* As deep as so many columns allow, and all of one depth. */
static ptrdiff_t block_depth(const product *p) {
    const ptrdiff_t most = FL_MIN(FL_BLOCKED_DEPTH, PACKED_BYTES / FL_MIN(p->n * (ptrdiff_t)sizeof(fl_real), ROW_BYTES));
    return p->k ? fl_ceil_div(p->k, fl_ceil_div(p->k, most)) : 0;
}

static int run(const fl_dense *d, product *p) {
    if (p->m == 0 && p->b_sums) sum_block(p, &(block){{0, p->n}, {0, p->k}});
    if (p->m == 0 || p->n == 0) return FL_OK;
    const fl_blocked_ukernels *uk = ukernels[p->isa];
    const ptrdiff_t panels = fl_ceil_div(p->n, uk->panel);
    p->depth = block_depth(p);
    const int team = fl_team(d->threads, fl_ceil_div(p->m, uk->rows) * panels, FL(dense_work)(d));
    p->shares = fl_share_out(p->m, uk->rows, p->n, uk->panel, team);
    const ptrdiff_t most = FL_MIN(panels, chunk_columns(p) / uk->panel);
    const ptrdiff_t panel_size = p->depth * uk->panel + FL_BLOCKED_SPACE;
    p->scratch_bytes = fl_ceil_div(most * panel_size * (ptrdiff_t)sizeof(fl_real), 64) * 64;
    const size_t bytes = (size_t)(team * p->scratch_bytes);
    p->scratch = fl_buffer_get(bytes);
    if (!p->scratch) return FL_ENOMEM;
    fl_parallel(team, team, run_parts, p);
    fl_buffer_put(p->scratch, bytes);
    return FL_OK;
}

int FL(blocked_forward)(const fl_dense *d, const void *x, const void *kernel, const void *bias, void *y, int activation,
                        double alpha) {
    product p = {.m = d->rows, .n = d->units, .k = d->inputs, .a = x, .a_row = d->inputs, .a_k = 1,
                 .b = kernel, .b_k = d->units, .b_col = 1, .c = y, .bias = bias, .activation = activation,
                 .alpha = (fl_real)alpha, .isa = d->isa};
    return run(d, &p);
}

/* dx = dy W^T */
int FL(blocked_backward_input)(const fl_dense *d, const void *dy, const void *kernel, void *dx) {
    product p = {.m = d->rows, .n = d->inputs, .k = d->units, .a = dy, .a_row = d->units, .a_k = 1,
                 .b = kernel, .b_k = 1, .b_col = d->units, .c = dx, .isa = d->isa};
    return run(d, &p);
}

/* dW = x^T dy, dbias = the sums of dy's columns */
int FL(blocked_backward_weight)(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    product p = {.m = d->inputs, .n = d->units, .k = d->rows, .a = x, .a_row = 1, .a_k = d->inputs,
                 .b = dy, .b_k = d->units, .b_col = 1, .c = dkernel, .b_sums = dbias, .isa = d->isa};
    return run(d, &p);
}
