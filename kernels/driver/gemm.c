/* C := beta C + A B for any strides; see gemm.h.
 *
 *     loop 5   column chunks, so that the packed B stays within FL_PACKED_BYTES      (one barrier each)
 *     loop 4   tasks = column split x block of rows, shared out over the team
 *     loop 3   k blocks; of A what is not contiguous along k is copied
 *     loop 2   column panels of the task
 *     loop 1   groups of mr rows: the register tile
 *
 * The cut depends on the sizes alone, and each element is summed along k in order: the same bits for any team. */
#include "gemm.h"

#include "activation_codes.h"
#include "blocking.h"
#include "buffers.h"
#include "dense.h"
#include "fl_types.h"
#include "gemm_ukernels.h"
#include "panels.h"
#include "parallel.h"

enum { MIN_TASKS = 32 }; /* enough for any team to share evenly */

static const fl_gemm_ukernels *const ukernels[] = {FL_ISA_ROWS(gemm)};

typedef struct {
    fl_gemm g;
    const fl_gemm_ukernels *uk;
    ptrdiff_t panels, first_panel, chunk_panels; /* loop 5 */
    ptrdiff_t blocks, splits;                    /* loop 4 */
    int in_place;                                /* whole panels of B are read as they stand */
    fl_real *packed_b;
    char *scratch;
    ptrdiff_t scratch_bytes; /* of one thread */
} plan;

/* What a thread keeps in its scratch. */
typedef struct {
    const fl_real *a[FL_BLOCK_PIXELS + FL_MAX_MR];
    fl_real *c[FL_BLOCK_PIXELS + FL_MAX_MR];
    fl_real zeros[FL_K_BLOCK], nowhere[32]; /* what rows past the end read, and where they are written */
    fl_real packed_a[FL_BLOCK_PIXELS * FL_K_BLOCK];
} workspace;

/* to (rows, columns) with rows `width` apart := from, zero in the columns beyond */
static void copy(ptrdiff_t rows, ptrdiff_t columns, const fl_real *from, ptrdiff_t rs, ptrdiff_t cs, fl_real *to,
                 ptrdiff_t width, int isa) {
    if (rs == 1 || cs == 1) {
        FL(pack_panel)(rows, columns, from, rs, cs, to, width, isa);
        return;
    }
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < width; j++) to[i * width + j] = j < columns ? from[i * rs + j * cs] : 0;
}

/* ---- B ---- */

static ptrdiff_t panel_columns(const plan *p, ptrdiff_t panel) { return FL_MIN(p->uk->nr, p->g.n - panel * p->uk->nr); }
static int read_in_place(const plan *p, ptrdiff_t columns) { return p->in_place && columns == fl_panel_width(p->uk, columns); }
static const fl_real *panel_of_b(const plan *p, ptrdiff_t panel) {
    return (const fl_real *)p->g.b + panel * p->uk->nr * p->g.cs_b;
}
static fl_real *packed_panel(const plan *p, ptrdiff_t panel) {
    return p->packed_b + (p->in_place ? 0 : panel - p->first_panel) * p->g.k * p->uk->nr;
}

static void pack(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const plan *p = job;
    for (ptrdiff_t panel = p->first_panel + begin; panel < p->first_panel + end; panel++) {
        ptrdiff_t columns = panel_columns(p, panel);
        if (!read_in_place(p, columns))
            copy(p->g.k, columns, panel_of_b(p, panel), p->g.rs_b, p->g.cs_b, packed_panel(p, panel), fl_panel_width(p->uk, columns),
                 p->g.isa);
    }
}

/* ---- A and C ---- */

/* Point at the rows of A from column k0 on, or copy them where the tile's reads would jump. */
static void point_rows(const plan *p, workspace *w, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t depth) {
    const fl_real *a = (const fl_real *)p->g.a + row * p->g.rs_a + k0 * p->g.cs_a;
    const int packed = p->g.cs_a != 1;
    if (packed) copy(rows, depth, a, p->g.rs_a, p->g.cs_a, w->packed_a, depth, p->g.isa);
    for (ptrdiff_t i = 0; i < fl_ceil_div(rows, p->uk->mr) * p->uk->mr; i++) {
        w->a[i] = i >= rows ? w->zeros : packed ? w->packed_a + i * depth : a + i * p->g.rs_a;
        w->c[i] = i >= rows ? w->nowhere : (fl_real *)p->g.c + (row + i) * p->g.rs_c;
    }
}

static void scale(const plan *p, ptrdiff_t row, ptrdiff_t rows, ptrdiff_t first, ptrdiff_t columns) {
    for (ptrdiff_t i = row; i < row + rows; i++) {
        fl_real *c = (fl_real *)p->g.c + i * p->g.rs_c + first;
        for (ptrdiff_t j = 0; j < columns; j++) c[j] *= (fl_real)p->g.beta;
    }
}

/* Loops 2 and 1 over one k block. */
static void run_panels(const plan *p, const workspace *w, ptrdiff_t rows, ptrdiff_t first_panel, ptrdiff_t last_panel,
                       ptrdiff_t k0, ptrdiff_t depth) {
    for (ptrdiff_t panel = first_panel; panel < last_panel; panel++) {
        const ptrdiff_t columns = panel_columns(p, panel), width = fl_panel_width(p->uk, columns), first = panel * p->uk->nr;
        const int in_place = read_in_place(p, columns);
        const ptrdiff_t b_k = in_place ? p->g.rs_b : width;
        fl_tile tile = {.taps = 1, .k = depth, .a_k = 1, .b_k = b_k, .n = columns,
                        .b = (in_place ? panel_of_b(p, panel) : packed_panel(p, panel)) + k0 * b_k,
                        .accumulate = k0 > 0 || p->g.beta != 0};
        fl_run_tile *run = fl_tile_of_width(p->uk, width);
        fl_real *c[FL_MAX_MR];
        for (ptrdiff_t row = 0; row < rows; row += p->uk->mr) {
            for (ptrdiff_t i = 0; i < p->uk->mr; i++) c[i] = row + i < rows ? w->c[row + i] + first : (fl_real *)w->nowhere;
            tile.a = w->a + row;
            tile.c = c;
            run(&tile);
        }
    }
}

static void run_tasks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    workspace *w = (workspace *)(p->scratch + thread * p->scratch_bytes);
    for (ptrdiff_t i = 0; i < FL_K_BLOCK; i++) w->zeros[i] = 0;
    for (ptrdiff_t i = 0; i < 32; i++) w->nowhere[i] = 0;
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t split = task / p->blocks, row = task % p->blocks * FL_BLOCK_PIXELS;
        const ptrdiff_t rows = FL_MIN(FL_BLOCK_PIXELS, p->g.m - row);
        const ptrdiff_t first_panel = p->first_panel + p->chunk_panels * split / p->splits;
        const ptrdiff_t last_panel = p->first_panel + p->chunk_panels * (split + 1) / p->splits;
        const ptrdiff_t first = first_panel * p->uk->nr, last = FL_MIN(p->g.n, last_panel * p->uk->nr);
        if (p->g.beta != 0 && p->g.beta != 1) scale(p, row, rows, first, last - first);
        ptrdiff_t k0 = 0;
        do { /* once even for k = 0, when C is set or left */
            const ptrdiff_t depth = FL_MIN(FL_K_BLOCK, p->g.k - k0);
            point_rows(p, w, row, rows, k0, depth);
            run_panels(p, w, rows, first_panel, last_panel, k0, depth);
            k0 += FL_K_BLOCK;
        } while (k0 < p->g.k);
    }
}

/* ---- the product ---- */

/* With C's columns next to each other. */
static int run(const fl_gemm *g) {
    plan p = {.g = *g, .uk = ukernels[g->isa], .blocks = fl_ceil_div(g->m, FL_BLOCK_PIXELS), .scratch_bytes = (sizeof(workspace) + 63) / 64 * 64};
    p.panels = fl_ceil_div(g->n, p.uk->nr);
    p.in_place = g->cs_b == 1 && g->m < FL_IN_PLACE_BELOW;
    if (g->k > PTRDIFF_MAX / 2 / (ptrdiff_t)sizeof(fl_real) / p.uk->nr) return FL_ENOMEM;
    const ptrdiff_t panel_bytes = FL_MAX(1, g->k * p.uk->nr * (ptrdiff_t)sizeof(fl_real));
    const ptrdiff_t most = p.in_place ? p.panels : FL_MAX(1, FL_MIN(p.panels, FL_PACKED_BYTES / panel_bytes));
    p.splits = FL_MIN(most, fl_ceil_div(MIN_TASKS, p.blocks));
    const int team = fl_team(g->threads, p.splits * p.blocks, 2.0 * (double)g->m * (double)g->n * (double)g->k);
    const size_t scratch = (size_t)team * (size_t)p.scratch_bytes;
    const size_t bytes = scratch + (size_t)(p.in_place ? 1 : most) * (size_t)panel_bytes;
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    p.packed_b = (fl_real *)(p.scratch + scratch);
    for (; p.first_panel < p.panels; p.first_panel += most) {
        p.chunk_panels = FL_MIN(most, p.panels - p.first_panel);
        p.splits = FL_MIN(p.splits, p.chunk_panels);
        fl_parallel(FL_MIN(team, (int)FL_MIN(p.chunk_panels, FL_MAX_THREADS)), p.chunk_panels, pack, &p);
        fl_parallel(team, p.splits * p.blocks, run_tasks, &p);
    }
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}

/* Into a contiguous C of our own, and from there to its place. */
static int run_aside(fl_gemm g) {
    fl_real *c = g.c;
    const size_t bytes = (size_t)g.m * (size_t)g.n * sizeof(fl_real);
    const ptrdiff_t rs_c = g.rs_c, cs_c = g.cs_c;
    const fl_real beta = (fl_real)g.beta;
    fl_real *product = fl_buffer_get(bytes);
    if (!product) return FL_ENOMEM;
    g.c = product, g.rs_c = g.n, g.cs_c = 1, g.beta = 0;
    const int status = run(&g);
    for (ptrdiff_t i = 0; i < g.m && status == FL_OK; i++)
        for (ptrdiff_t j = 0; j < g.n; j++) {
            fl_real *to = c + i * rs_c + j * cs_c;
            *to = beta == 0 ? product[i * g.n + j] : beta * *to + product[i * g.n + j];
        }
    fl_buffer_put(product, bytes);
    return status;
}

/* Where all is contiguous it is a dense layer, whose driver packs nothing when there are few rows. */
static int is_dense(const fl_gemm *g) {
    return g->beta == 0 && g->cs_a == 1 && g->rs_a == g->k && g->cs_b == 1 && g->rs_b == g->n && g->cs_c == 1 && g->rs_c == g->n;
}

int FL(gemm)(const fl_gemm *g) {
    if (g->m == 0 || g->n == 0) return FL_OK;
    if (is_dense(g)) {
        const fl_dense d = {.rows = g->m, .inputs = g->k, .units = g->n, .isa = g->isa, .threads = g->threads};
        return FL(dense_driver).forward(&d, g->a, g->b, NULL, g->c, FL_LINEAR, 0);
    }
    if (g->cs_c == 1 || g->n == 1) return run(g);
    if (g->rs_c == 1 || g->m == 1) { /* the transposed problem */
        const fl_gemm t = {.m = g->n, .n = g->m, .k = g->k, .a = g->b, .rs_a = g->cs_b, .cs_a = g->rs_b,
                           .b = g->a, .rs_b = g->cs_a, .cs_b = g->rs_a, .beta = g->beta,
                           .c = g->c, .rs_c = g->cs_c, .cs_c = g->rs_c, .isa = g->isa, .threads = g->threads};
        return run(&t);
    }
    return run_aside(*g);
}
