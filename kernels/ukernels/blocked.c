/* Blocks of a matrix product: see blocked_ukernels.h. */
#include "blocked_ukernels.h"

#include "layout_ukernels.h"
#include "varray.h"

/* A tile as large as the registers allow. */
#if FL_VECTOR_BYTES == 64 || defined(__aarch64__)
enum { ROWS = 12 };
#else
enum { ROWS = 6 };
#endif
#define PANEL (2 * VL)

enum {
    SET_BYTES = 4096,      /* rows so far apart share a set of L1, */
    SET_ROWS = 8,          /* which holds a line of so many; */
    NEAR_BYTES = 12 << 10, /* a tile's that lie in so many leave none too full */
    SHALLOW = 16,          /* depth of a block whose tiles take as long to store as to compute */
    EVERY = FL_VECTOR_BYTES == 64 ? 2 : 4, /* steps along k: lines of what comes next are asked for */
    SHORT_ROW = 128, /* bytes: a few such are one stream, which the hardware follows */
    NEAR_ROW = FL_BLOCKED_DEPTH + 64 / sizeof(fl_real), /* from one row of A to the next in a copy: not so far */
};

#define UNROLL _Pragma("GCC unroll 16")

/* Ask for the next line of the runs; false when there is none. */
FL_INLINE int fetch_line(fl_runs *r) {
    if (r->runs <= 0) return 0;
    __builtin_prefetch(r->at, 0, 2);
    r->at += FL_LINE;
    if (--r->left == 0) r->at += r->skip, r->left = r->lines, r->runs--;
    return 1;
}

/* What comes next: the first of these of which a line is left is asked for. */
typedef struct {
    fl_runs *runs[3];
    ptrdiff_t lines; /* at a time */
} ahead;

FL_INLINE void fetch_ahead(const ahead *next) {
    for (ptrdiff_t i = 0; i < next->lines; i++)
        if (!fetch_line(next->runs[0]) && !fetch_line(next->runs[1]) && !fetch_line(next->runs[2])) break;
}

/* sum += a row of B times a column of A */
FL_INLINE void add_products(const int rows, const int vectors, const fl_real *a, const ptrdiff_t a_row, const fl_real *b,
                            vreal sum[ROWS][2]) {
    vreal row[2];
    UNROLL for (int v = 0; v < vectors; v++) row[v] = vload(b + v * VL);
    UNROLL for (int i = 0; i < rows; i++) {
        UNROLL for (int v = 0; v < vectors; v++) sum[i][v] += row[v] * a[i * a_row];
    }
}

/* sum += the tile of C */
FL_INLINE void add_tile(const int rows, ptrdiff_t wanted, const int vectors, ptrdiff_t n, fl_real *const *c, ptrdiff_t at,
                        vreal sum[ROWS][2]) {
    UNROLL for (int i = 0; i < rows; i++) {
        if (i == wanted) break;
        UNROLL for (int v = 0; v < vectors; v++) sum[i][v] += vload_next(c[i] + at + v * VL, n - v * VL);
    }
}

/* What `end` has the sums go through. */
FL_INLINE void finish(const int rows, const int vectors, ptrdiff_t n, ptrdiff_t at, const fl_block_end *end, vreal sum[ROWS][2]) {
    if (end->bias) {
        UNROLL for (int v = 0; v < vectors; v++) {
            const vreal bias = vload_next(end->bias + at + v * VL, n - v * VL);
            UNROLL for (int i = 0; i < rows; i++) sum[i][v] += bias;
        }
    }
    if (end->relu) {
        UNROLL for (int i = 0; i < rows; i++) {
            UNROLL for (int v = 0; v < vectors; v++) sum[i][v] = vselect(sum[i][v] <= 0, (vreal){0}, sum[i][v]);
        }
    }
}

FL_INLINE void store_tile(const int rows, ptrdiff_t wanted, const int vectors, ptrdiff_t n, vreal sum[ROWS][2], int stream,
                          fl_real *const *c, ptrdiff_t at) {
    if (stream) {
        UNROLL for (int i = 0; i < rows; i++) {
            if (i == wanted) break;
            UNROLL for (int v = 0; v < vectors; v++) vstream(c[i] + at + v * VL, sum[i][v]);
        }
        return;
    }
    UNROLL for (int i = 0; i < rows; i++) {
        if (i == wanted) break;
        UNROLL for (int v = 0; v < vectors; v++) vstore_next(c[i] + at + v * VL, sum[i][v], n - v * VL);
    }
}

/* Ask for the lines of C that will be written. */
FL_INLINE void prefetch_tile(const int rows, ptrdiff_t wanted, const int vectors, fl_real *const *c, ptrdiff_t at) {
    UNROLL for (int i = 0; i < rows; i++) {
        if (i == wanted) break;
        UNROLL for (int v = 0; v < vectors; v++) __builtin_prefetch(c[i] + at + v * VL, 1, 3);
    }
}

/* `rows` rows of C, at c[i] + at, of which the first `wanted` are stored, by `vectors` vectors, of which the first n columns
 * are. */
FL_INLINE void tile(const int rows, ptrdiff_t wanted, const int vectors, ptrdiff_t n, ptrdiff_t depth, const fl_real *a,
                    const ptrdiff_t a_row, const ptrdiff_t a_k, const fl_real *b, fl_real *const *c, ptrdiff_t at,
                    const fl_block_end *end, const ahead *next) {
    vreal sum[ROWS][2] = {{{0}}};
    if (!end->stream && depth > SHALLOW) prefetch_tile(rows, wanted, vectors, c, at);
    for (ptrdiff_t k = 0; k < depth;) {
        fetch_ahead(next);
        for (const ptrdiff_t until = FL_MIN(depth, k + EVERY); k < until; k++, a += a_k, b += vectors * VL)
            add_products(rows, vectors, a, a_row, b, sum);
    }
    if (end->accumulate) add_tile(rows, wanted, vectors, n, c, at, sum);
    finish(rows, vectors, n, at, end, sum);
    store_tile(rows, wanted, vectors, n, sum, end->stream, c, at);
}

/* Rows of C, panel after panel. */
FL_INLINE void strip(const int rows, ptrdiff_t wanted, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, const ptrdiff_t a_row,
                     const ptrdiff_t a_k, const fl_real *b, fl_real *const *c, ptrdiff_t at, const fl_block_end *end, const ahead *next) {
    for (; n >= PANEL; n -= PANEL, b += depth * PANEL + FL_BLOCKED_SPACE, at += PANEL)
        tile(rows, wanted, 2, PANEL, depth, a, a_row, a_k, b, c, at, end, next);
    if (n > VL) tile(rows, wanted, 2, n, depth, a, a_row, a_k, b, c, at, end, next);
    else if (n > 0) tile(rows, wanted, 1, n, depth, a, a_row, a_k, b, c, at, end, next);
}

/* The last `wanted` <= ROWS rows through the smallest of the tiles that hold them. */
FL_INLINE void rest_of_strips(ptrdiff_t wanted, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, const ptrdiff_t a_row,
                              const ptrdiff_t a_k, const fl_real *b, fl_real *const *c, ptrdiff_t at, const fl_block_end *end,
                              const ahead *next) {
    if (wanted <= ROWS / 3) strip(ROWS / 3, wanted, n, depth, a, a_row, a_k, b, c, at, end, next);
    else if (wanted <= ROWS / 3 * 2) strip(ROWS / 3 * 2, wanted, n, depth, a, a_row, a_k, b, c, at, end, next);
    else strip(ROWS, wanted, n, depth, a, a_row, a_k, b, c, at, end, next);
}

/* Where up to ROWS rows of C begin. */
FL_INLINE void point_rows(ptrdiff_t rows, fl_real *c, ptrdiff_t c_row, fl_real **to) {
    for (ptrdiff_t i = 0; i < FL_MIN(rows, ROWS); i++) to[i] = c + i * c_row;
}

/* A with rows along k: some of them are copied side by side, unless they are near each other as they lie, or a copy would not be
 * read again. */
static void product_of_rows(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, ptrdiff_t a_row,
                            const fl_real *packed, fl_real *c, ptrdiff_t c_row, const fl_block_end *end, ptrdiff_t m_after,
                            fl_runs next[2]) {
    _Alignas(64) fl_real near[ROWS * NEAR_ROW];
    const ptrdiff_t row_bytes = a_row * (ptrdiff_t)sizeof *a;
    const int in_place = (n <= PANEL && row_bytes % SET_BYTES) || ROWS * row_bytes <= NEAR_BYTES;
    fl_runs strip_after = {0};
    const ahead later = {{&strip_after, &next[0], &next[1]}, n > PANEL ? 1 : row_bytes > SHORT_ROW ? 2 : 0};
    fl_real *rows[ROWS];
    for (; m > 0; m -= ROWS, a += ROWS * a_row, c += ROWS * c_row) {
        if (later.lines) strip_after = fl_runs_of(FL_MIN(m - ROWS + m_after, ROWS), depth, a + ROWS * a_row, a_row);
        point_rows(m, c, c_row, rows);
        if (in_place && m >= ROWS) {
            strip(ROWS, ROWS, n, depth, a, a_row, 1, packed, rows, 0, end, &later);
            continue;
        }
        for (ptrdiff_t i = 0; i < FL_MIN(m, ROWS); i++) memcpy(near + i * NEAR_ROW, a + i * a_row, (size_t)depth * sizeof *a);
        for (ptrdiff_t i = m; i < ROWS; i++) memset(near + i * NEAR_ROW, 0, (size_t)depth * sizeof *a);
        if (m >= ROWS) strip(ROWS, ROWS, n, depth, near, NEAR_ROW, 1, packed, rows, 0, end, &later);
        else rest_of_strips(m, n, depth, near, NEAR_ROW, 1, packed, rows, 0, end, &later);
    }
}

/* Ask for rows [begin, end) of those at a[i] + at. */
FL_INLINE void fetch_rows(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t depth, const fl_real *const *a, ptrdiff_t at) {
    for (ptrdiff_t i = begin; i < end; i++)
        for (ptrdiff_t k = 0; k < depth; k += FL_LINE / (ptrdiff_t)sizeof **a) __builtin_prefetch(a[i] + at + k);
}

/* Rows of A and of C wherever they lie.  A copy of some rows of A serves all panels; meanwhile those of the next strip are asked
 * for, some with each panel. */
static void gathered(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *const *a, ptrdiff_t a_at, const fl_real *packed,
                     fl_real *const *c, ptrdiff_t c_at, fl_runs *next) {
    _Alignas(64) fl_real near[ROWS * NEAR_ROW] = {0};
    const ptrdiff_t panels = fl_ceil_div(n, PANEL);
    fl_runs none = {0};
    const ahead later = {{next, &none, &none}, 1};
    const fl_block_end add = {.accumulate = 1};
    for (; m > 0; m -= ROWS, a += ROWS, c += ROWS) {
        const ptrdiff_t after = FL_MAX(0, FL_MIN(m - ROWS, ROWS));
        for (ptrdiff_t i = 0; i < FL_MIN(m, ROWS); i++) memcpy(near + i * NEAR_ROW, a[i] + a_at, (size_t)depth * sizeof **a);
        for (ptrdiff_t j = 0; j < panels; j++) {
            const fl_real *b = packed + j * (depth * PANEL + FL_BLOCKED_SPACE);
            const ptrdiff_t left = FL_MIN(PANEL, n - j * PANEL), at = c_at + j * PANEL;
            fetch_rows(after * j / panels, after * (j + 1) / panels, depth, a + ROWS, a_at);
            if (m >= ROWS) strip(ROWS, ROWS, left, depth, near, NEAR_ROW, 1, b, c, at, &add, &later);
            else rest_of_strips(m, left, depth, near, NEAR_ROW, 1, b, c, at, &add, &later);
        }
    }
}

/* Lines to ask for at a time, so that all that comes next is there in so many steps. */
FL_INLINE ptrdiff_t pace(ptrdiff_t steps, const fl_runs next[2]) {
    const ptrdiff_t lines = next[0].runs * next[0].lines + next[1].runs * next[1].lines;
    return FL_MAX(1, FL_MIN(EVERY, fl_ceil_div(lines * EVERY, FL_MAX(1, steps))));
}

/* As many rows of C as a strip has, fewer at a time: the lines that a tile stores then fit a set of L1. */
FL_INLINE void strip_by_parts(ptrdiff_t n, ptrdiff_t depth, const fl_real *a, const fl_real *b, fl_real *const *c,
                              const fl_block_end *end, const ahead *next) {
    for (int i = 0; i < ROWS; i += ROWS / 3)
        strip(ROWS / 3, ROWS / 3, n, depth, a + i, 1, ROWS, b, c + i, 0, end, next);
}

/* A with columns along m: so many of their elements are copied that they make some rows of C. */
static void product_of_columns(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, ptrdiff_t a_k,
                               const fl_real *packed, fl_real *c, ptrdiff_t c_row, const fl_block_end *end, ptrdiff_t m_after,
                               fl_runs next[2]) {
    _Alignas(64) fl_real near[FL_BLOCKED_DEPTH * ROWS];
    const int by_parts = (int)ROWS > SET_ROWS && depth <= SHALLOW && c_row * (ptrdiff_t)sizeof *c % (SET_BYTES / 2) == 0;
    fl_real *rows[ROWS];
    fl_runs strip_after = {0};
    const ahead later = {{&next[0], &next[1], &strip_after},
                         pace(fl_ceil_div(m + m_after, ROWS) * fl_ceil_div(n, PANEL) * depth, next)};
    for (; m >= ROWS; m -= ROWS, a += ROWS, c += ROWS * c_row) {
        for (ptrdiff_t k = 0; k < depth; k++) memcpy(near + k * ROWS, a + k * a_k, ROWS * sizeof *a);
        strip_after = fl_runs_of(depth, FL_MIN(m - ROWS + m_after, ROWS), a + ROWS, a_k);
        point_rows(ROWS, c, c_row, rows);
        if (by_parts) strip_by_parts(n, depth, near, packed, rows, end, &later);
        else strip(ROWS, ROWS, n, depth, near, 1, ROWS, packed, rows, 0, end, &later);
    }
    if (m == 0) return;
    memset(near, 0, (size_t)(depth * ROWS) * sizeof *near);
    for (ptrdiff_t k = 0; k < depth; k++) memcpy(near + k * ROWS, a + k * a_k, (size_t)m * sizeof *a);
    point_rows(m, c, c_row, rows);
    rest_of_strips(m, n, depth, near, 1, ROWS, packed, rows, 0, end, &later);
}

static void product(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, ptrdiff_t a_row, ptrdiff_t a_k,
                    const fl_real *packed, fl_real *c, ptrdiff_t c_row, const fl_block_end *end, ptrdiff_t m_after, fl_runs next[2]) {
    if (a_k == 1) product_of_rows(m, n, depth, a, a_row, packed, c, c_row, end, m_after, next);
    else product_of_columns(m, n, depth, a, a_k, packed, c, c_row, end, m_after, next);
    if (end->stream) vstream_end();
}

/* ---- packing ---- */

/* Long runs: a row of B over all panels, then the next. */
static void pack_rows(ptrdiff_t depth, ptrdiff_t n, const fl_real *b, ptrdiff_t b_k, fl_real *packed) {
    for (ptrdiff_t k = 0; k < depth; k++, b += b_k) {
        fl_real *to = packed + k * PANEL;
        ptrdiff_t j = 0;
        for (; n - j > VL; j += PANEL, to += depth * PANEL + FL_BLOCKED_SPACE) {
            vstore(to, vload(b + j));
            vstore(to + VL, vload_next(b + j + VL, n - j - VL));
        }
        if (j < n) vstore(to - k * VL, vload_next(b + j, n - j));
    }
}

static void pack_columns(ptrdiff_t depth, ptrdiff_t n, const fl_real *b, ptrdiff_t b_col, fl_real *packed) {
    for (; n > 0; n -= PANEL, b += PANEL * b_col, packed += depth * PANEL + FL_BLOCKED_SPACE) {
        const ptrdiff_t width = n > VL ? PANEL : VL, columns = FL_MIN(n, width);
        FL_UK(layout).transpose(columns, depth, b, b_col, packed, width);
        for (ptrdiff_t k = 0; columns < width && k < depth; k++)
            memset(packed + k * width + columns, 0, (size_t)(width - columns) * sizeof *packed);
    }
}

static void pack(ptrdiff_t depth, ptrdiff_t n, const fl_real *b, ptrdiff_t b_k, ptrdiff_t b_col, fl_real *packed) {
    if (b_col == 1) pack_rows(depth, n, b, b_k, packed);
    else pack_columns(depth, n, b, b_col, packed);
}

const fl_blocked_ukernels FL_UK(blocked) = {.product = product, .gathered = gathered, .pack = pack, .rows = ROWS, .panel = PANEL};
