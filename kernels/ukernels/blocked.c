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
    SET_BYTES = 4096, /* rows so far apart share a set of L1 */
    NEAR_ROW = FL_BLOCKED_DEPTH + 64 / sizeof(fl_real), /* from one row of A to the next in a copy: not so far */
};

#define UNROLL _Pragma("GCC unroll 16")

/* `rows` rows of C, of which the first `wanted` are stored, by `vectors` vectors, of which the first n columns are. */
FL_INLINE void tile(const int rows, ptrdiff_t wanted, const int vectors, ptrdiff_t n, ptrdiff_t depth, const fl_real *a,
                    const ptrdiff_t a_row, const ptrdiff_t a_k, const fl_real *b, fl_real *c, ptrdiff_t c_row, int accumulate) {
    vreal sum[ROWS][2] = {{{0}}};
    UNROLL for (int i = 0; i < rows; i++) {
        if (i == wanted) break;
        UNROLL for (int v = 0; v < vectors; v++) __builtin_prefetch(c + i * c_row + v * VL, 1, 3);
    }
    for (ptrdiff_t k = 0; k < depth; k++, a += a_k, b += vectors * VL) {
        vreal row[2];
        UNROLL for (int v = 0; v < vectors; v++) row[v] = vload(b + v * VL);
        UNROLL for (int i = 0; i < rows; i++) {
            UNROLL for (int v = 0; v < vectors; v++) sum[i][v] += row[v] * a[i * a_row];
        }
    }
    UNROLL for (int i = 0; i < rows; i++, c += c_row) {
        if (i == wanted) break;
        UNROLL for (int v = 0; v < vectors; v++) {
            ptrdiff_t left = n - v * VL;
            vstore_next(c + v * VL, accumulate ? vload_next(c + v * VL, left) + sum[i][v] : sum[i][v], left);
        }
    }
}

/* Rows of C, panel after panel. */
FL_INLINE void strip(const int rows, ptrdiff_t wanted, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, const ptrdiff_t a_row,
                     const ptrdiff_t a_k, const fl_real *b, fl_real *c, ptrdiff_t c_row, int accumulate) {
    for (; n >= PANEL; n -= PANEL, b += depth * PANEL + FL_BLOCKED_SPACE, c += PANEL)
        tile(rows, wanted, 2, PANEL, depth, a, a_row, a_k, b, c, c_row, accumulate);
    if (n > VL) tile(rows, wanted, 2, n, depth, a, a_row, a_k, b, c, c_row, accumulate);
    else if (n > 0) tile(rows, wanted, 1, n, depth, a, a_row, a_k, b, c, c_row, accumulate);
}

/* The last `wanted` <= ROWS rows through the smallest of the tiles that hold them. */
FL_INLINE void rest_of_strips(ptrdiff_t wanted, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, const ptrdiff_t a_row,
                              const ptrdiff_t a_k, const fl_real *b, fl_real *c, ptrdiff_t c_row, int accumulate) {
    if (wanted <= ROWS / 3) strip(ROWS / 3, wanted, n, depth, a, a_row, a_k, b, c, c_row, accumulate);
    else if (wanted <= ROWS / 3 * 2) strip(ROWS / 3 * 2, wanted, n, depth, a, a_row, a_k, b, c, c_row, accumulate);
    else strip(ROWS, wanted, n, depth, a, a_row, a_k, b, c, c_row, accumulate);
}

/* A with rows along k: some of them are copied side by side. */
static void product_of_rows(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, ptrdiff_t a_row,
                            const fl_real *packed, fl_real *c, ptrdiff_t c_row, int accumulate) {
    _Alignas(64) fl_real near[ROWS * NEAR_ROW];
    const int once = n <= PANEL && a_row * (ptrdiff_t)sizeof *a % SET_BYTES; /* a copy would not be read again */
    for (; once && m >= ROWS; m -= ROWS, a += ROWS * a_row, c += ROWS * c_row)
        strip(ROWS, ROWS, n, depth, a, a_row, 1, packed, c, c_row, accumulate);
    for (; m > 0; m -= ROWS, a += ROWS * a_row, c += ROWS * c_row) {
        for (ptrdiff_t i = 0; i < FL_MIN(m, ROWS); i++) memcpy(near + i * NEAR_ROW, a + i * a_row, (size_t)depth * sizeof *a);
        for (ptrdiff_t i = m; i < ROWS; i++) memset(near + i * NEAR_ROW, 0, (size_t)depth * sizeof *a);
        /* the next rows, where they are long: each begins where no stream of reads has led to */
        for (ptrdiff_t i = depth < FL_BLOCKED_DEPTH ? m : ROWS; i < FL_MIN(m, 2 * ROWS); i++)
            for (ptrdiff_t k = 0; k < depth; k += 64 / sizeof *a) __builtin_prefetch(a + i * a_row + k, 0, 2);
        if (m >= ROWS) strip(ROWS, ROWS, n, depth, near, NEAR_ROW, 1, packed, c, c_row, accumulate);
        else rest_of_strips(m, n, depth, near, NEAR_ROW, 1, packed, c, c_row, accumulate);
    }
}

/* A with columns along m: so many of their elements are copied that they make some rows of C. */
static void product_of_columns(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, ptrdiff_t a_k,
                               const fl_real *packed, fl_real *c, ptrdiff_t c_row, int accumulate) {
    _Alignas(64) fl_real near[FL_BLOCKED_DEPTH * ROWS];
    for (; m >= ROWS; m -= ROWS, a += ROWS, c += ROWS * c_row) {
        for (ptrdiff_t k = 0; k < depth; k++) memcpy(near + k * ROWS, a + k * a_k, ROWS * sizeof *a);
        strip(ROWS, ROWS, n, depth, near, 1, ROWS, packed, c, c_row, accumulate);
    }
    if (m == 0) return;
    memset(near, 0, (size_t)(depth * ROWS) * sizeof *near);
    for (ptrdiff_t k = 0; k < depth; k++) memcpy(near + k * ROWS, a + k * a_k, (size_t)m * sizeof *a);
    rest_of_strips(m, n, depth, near, 1, ROWS, packed, c, c_row, accumulate);
}

static void product(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, ptrdiff_t a_row, ptrdiff_t a_k,
                    const fl_real *packed, fl_real *c, ptrdiff_t c_row, int accumulate) {
    if (a_k == 1) product_of_rows(m, n, depth, a, a_row, packed, c, c_row, accumulate);
    else product_of_columns(m, n, depth, a, a_k, packed, c, c_row, accumulate);
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

const fl_blocked_ukernels FL_UK(blocked) = {.product = product, .pack = pack, .rows = ROWS, .panel = PANEL};
