/* Dense products over few rows: see skinny_ukernels.h. */
#include "skinny_ukernels.h"

#include <stdint.h>

#include "activation_ukernels.h"
#include "interleave.h"
#include "varray.h"

/* Tiles as large as the registers allow. */
#if FL_VECTOR_BYTES == 64 || defined(__aarch64__)
enum { RUNS = 8, DOT_ROWS = 4, DOTS = 6 };
#else
enum { RUNS = 4, DOT_ROWS = 3, DOTS = 4 };
#endif

#define UNROLL _Pragma("GCC unroll 16")

/* Rows of weights are far apart, so that the processor's own prefetching does not know the next ones; where a single row of
 * x or dy leaves the loads no time to spare, it is better left alone, with fewer runs that may share a cache set. */
enum { PREFETCH_ROWS = 4, FEW_RUNS = 4 };
#define PREFETCH(p) __builtin_prefetch(p, 0, 2)

/* ---- rows: y += x w, `runs` rows of w side by side ---- */

/* y(m, j) += x(m, 0) w(0, j) + ... for `vectors` vectors of columns, the last of them with n <= VL columns; beyond them y is
 * undefined, or kept.  x holds RUNS elements of every row. */
FL_INLINE void add_runs(ptrdiff_t rows, const int runs, const int vectors, ptrdiff_t n, const fl_real *x, const fl_real *w,
                        ptrdiff_t w_row, const int prefetch, fl_real *y, ptrdiff_t y_row, const int keep) {
    vreal run[RUNS][2];
    UNROLL for (int r = 0; r < runs; r++) {
        UNROLL for (int v = 0; v < vectors; v++) {
            run[r][v] = vload_next(w + r * w_row + v * VL, v < vectors - 1 ? VL : n);
            if (prefetch) PREFETCH(w + (runs + r) * w_row + v * VL);
        }
    }
    for (ptrdiff_t m = 0; m < rows; m++, y += y_row, x += RUNS) {
        vreal sum[2];
        UNROLL for (int v = 0; v < vectors; v++) sum[v] = vload(y + v * VL);
        UNROLL for (int r = 0; r < runs; r++) {
            UNROLL for (int v = 0; v < vectors; v++) sum[v] += run[r][v] * x[r];
        }
        if (keep) sum[vectors - 1] = vselect(vfirst_lanes(n), sum[vectors - 1], vload(y + (vectors - 1) * VL));
        UNROLL for (int v = 0; v < vectors; v++) vstore(y + v * VL, sum[v]);
    }
}

FL_INLINE void add_all_columns(ptrdiff_t rows, const int runs, ptrdiff_t n, const fl_real *x, ptrdiff_t x_row,
                               const fl_real *w, ptrdiff_t w_row, const int prefetch, fl_real *y, ptrdiff_t y_row) {
    /* x(m, k..) side by side: rows a power of two apart would share a cache set */
    _Alignas(64) fl_real near[FL_SKINNY_ROWS * RUNS];
    for (ptrdiff_t m = 0; m < rows; m++) memcpy(near + m * RUNS, x + m * x_row, (size_t)runs * sizeof *x);
    ptrdiff_t j = FL_MIN(n, (ptrdiff_t)(-(uintptr_t)y % FL_VECTOR_BYTES / sizeof *y)); /* where y is aligned */
    if (j > 0) add_runs(rows, runs, 1, j, near, w, w_row, prefetch, y, y_row, 1);
    for (; j + 2 * VL <= n; j += 2 * VL) add_runs(rows, runs, 2, VL, near, w + j, w_row, prefetch, y + j, y_row, 0);
    for (; j < n; j += VL) add_runs(rows, runs, 1, FL_MIN(VL, n - j), near, w + j, w_row, prefetch, y + j, y_row, 0);
}

FL_INLINE void add_all_rows(ptrdiff_t rows, const int runs, ptrdiff_t k, ptrdiff_t n, const fl_real *x, ptrdiff_t x_row, const fl_real *w,
                            ptrdiff_t w_row, const int prefetch, fl_real *y, ptrdiff_t y_row) {
    ptrdiff_t i = 0;
    for (; i + runs <= k; i += runs) add_all_columns(rows, runs, n, x + i, x_row, w + i * w_row, w_row, prefetch, y, y_row);
    for (; i + 2 <= k; i += 2) add_all_columns(rows, 2, n, x + i, x_row, w + i * w_row, w_row, 0, y, y_row);
    if (i < k) add_all_columns(rows, 1, n, x + i, x_row, w + i * w_row, w_row, 0, y, y_row);
}

static void rows(ptrdiff_t rows, ptrdiff_t k, ptrdiff_t n, const fl_real *x, ptrdiff_t x_row, const fl_real *w,
                 ptrdiff_t w_row, fl_real *y, ptrdiff_t y_row) {
    for (ptrdiff_t m = 0; m < rows; m++) memset(y + m * y_row, 0, (size_t)y_row * sizeof *y);
    if (rows < PREFETCH_ROWS) add_all_rows(rows, FEW_RUNS, k, n, x, x_row, w, w_row, 0, y, y_row);
    else add_all_rows(rows, RUNS, k, n, x, x_row, w, w_row, 1, y, y_row);
}

static void finish(ptrdiff_t n, const fl_real *sums, const fl_real *bias, fl_real *y, int activation, fl_real alpha) {
    for (ptrdiff_t j = 0; j < n; j += VL) {
        vreal sum = vload_next(sums + j, n - j);
        vstore_next(y + j, bias ? sum + vload_next(bias + j, n - j) : sum, n - j);
    }
    if (activation != FL_LINEAR) FL_UK(activation).forward[activation](n, y, y, alpha);
}

/* ---- dots: dx = dy w^T, both read along their rows ---- */

/* Lane 2i: the sum of lanes i and VL/2 + i of a; lane 2i + 1: the same of b. */
FL_INLINE vreal add_halves(vreal a, vreal b) {
    return SHUFFLE(a, b, vint, INTERLEAVE(LANES, 0)) + SHUFFLE(a, b, vint, INTERLEAVE(LANES, LANES / 2));
}

/* y[i] = [ y[i] + ] the sum of v[i]'s lanes, i < count <= 8, in the same order for any count */
FL_INLINE void totals(const int count, const vreal *v, fl_real *y, int accumulate) {
    const int power = count == 1 ? 1 : count == 2 ? 2 : count <= 4 ? 4 : 8, group = (int)FL_MIN(power, VL);
    UNROLL for (int first = 0; first < count; first += group) {
        vreal sum[8];
        UNROLL for (int i = 0; i < group; i++) sum[i] = first + i < count ? v[first + i] : (vreal){0};
        UNROLL for (int n = group / 2; n > 0; n /= 2) {
            UNROLL for (int i = 0; i < n; i++) sum[i] = add_halves(sum[i], sum[i + n]);
        }
        UNROLL for (int n = group; n < VL; n *= 2) sum[0] = add_halves(sum[0], sum[0]);
        fl_real lane[VL]; /* every total VL / group times */
        vstore(lane, sum[0]);
        UNROLL for (int i = 0; i < group; i++) {
            if (first + i < count) y[first + i] = lane[i * VL / group] + (accumulate ? y[first + i] : 0);
        }
    }
}

/* dy's rows in groups of DOT_ROWS, the last of which may have fewer: [group][vector of columns][row][VL], zero beyond n.
 * Read as they stand, rows of dy and w a power of two apart would share a cache set. */
static void pack(ptrdiff_t rows, ptrdiff_t n, const fl_real *dy, ptrdiff_t dy_row, fl_real *packed) {
    for (ptrdiff_t first = 0; first < rows; first += DOT_ROWS, dy += DOT_ROWS * dy_row)
        for (ptrdiff_t j = 0; j < n; j += VL)
            for (ptrdiff_t m = 0; m < FL_MIN(DOT_ROWS, rows - first); m++, packed += VL)
                vstore(packed, vload_next(dy + m * dy_row + j, n - j));
}

FL_INLINE void dot_tile(const int rows, const int dots, ptrdiff_t n, const fl_real *dy, const fl_real *w, ptrdiff_t w_row,
                        fl_real *dx, ptrdiff_t dx_row, int accumulate) {
    vreal sum[DOT_ROWS][DOTS] = {{{0}}};
    ptrdiff_t j = 0;
    for (; j + VL <= n; j += VL, dy += rows * VL) {
        vreal d[DOT_ROWS];
        UNROLL for (int m = 0; m < rows; m++) d[m] = vload(dy + m * VL);
        UNROLL for (int i = 0; i < dots; i++) {
            vreal b = vload(w + i * w_row + j);
            if (rows == DOT_ROWS) PREFETCH(w + (dots + i) * w_row + j);
            UNROLL for (int m = 0; m < rows; m++) sum[m][i] += d[m] * b;
        }
    }
    if (j < n) {
        UNROLL for (int i = 0; i < dots; i++) {
            vreal b = vload_part(w + i * w_row + j, n - j);
            UNROLL for (int m = 0; m < rows; m++) sum[m][i] += vload(dy + m * VL) * b;
        }
    }
    UNROLL for (int m = 0; m < rows; m++) totals(dots, sum[m], dx + m * dx_row, accumulate);
}

FL_INLINE void dot_rows(ptrdiff_t rows, const int dots, ptrdiff_t n, const fl_real *dy, ptrdiff_t dy_row, const fl_real *w,
                        ptrdiff_t w_row, fl_real *dx, ptrdiff_t dx_row, int accumulate) {
    for (; rows >= DOT_ROWS; rows -= DOT_ROWS, dy += DOT_ROWS * dy_row, dx += DOT_ROWS * dx_row)
        dot_tile(DOT_ROWS, dots, n, dy, w, w_row, dx, dx_row, accumulate);
    if (rows == 3) dot_tile(FL_MIN(3, DOT_ROWS), dots, n, dy, w, w_row, dx, dx_row, accumulate);
    if (rows == 2) dot_tile(2, dots, n, dy, w, w_row, dx, dx_row, accumulate);
    if (rows == 1) dot_tile(1, dots, n, dy, w, w_row, dx, dx_row, accumulate);
}

static void dots(ptrdiff_t rows, ptrdiff_t k, ptrdiff_t n, const fl_real *dy, const fl_real *w, ptrdiff_t w_row, fl_real *dx,
                 ptrdiff_t dx_row, int accumulate) {
    const ptrdiff_t dy_row = (n + VL - 1) / VL * VL;
    ptrdiff_t i = 0;
    for (; i + DOTS <= k; i += DOTS) dot_rows(rows, DOTS, n, dy, dy_row, w + i * w_row, w_row, dx + i, dx_row, accumulate);
    for (; i < k; i++) dot_rows(rows, 1, n, dy, dy_row, w + i * w_row, w_row, dx + i, dx_row, accumulate);
}

/* ---- outer: dW = x^T dy, written row by row ---- */

FL_INLINE void outer_product(const int rows, ptrdiff_t k, ptrdiff_t n, const fl_real *x, ptrdiff_t x_row, const fl_real *dy,
                             ptrdiff_t dy_row, fl_real *dw, ptrdiff_t w_row, const int stream) {
    for (ptrdiff_t i = 0; i < k; i++, dw += w_row) {
        vreal a[FL_SKINNY_OUTER];
        UNROLL for (int m = 0; m < rows; m++) a[m] = vsplat(x[m * x_row + i]);
        ptrdiff_t j = 0;
        for (; j + VL <= n; j += VL) {
            vreal sum = {0};
            UNROLL for (int m = 0; m < rows; m++) sum += a[m] * vload(dy + m * dy_row + j);
            if (stream) vstream(dw + j, sum);
            else vstore(dw + j, sum);
        }
        if (j < n) {
            vreal sum = {0};
            UNROLL for (int m = 0; m < rows; m++) sum += a[m] * vload(dy + m * dy_row + j);
            vstore_part(dw + j, sum, n - j);
        }
    }
    if (stream) vstream_end();
}

static void outer(ptrdiff_t rows, ptrdiff_t k, ptrdiff_t n, const fl_real *x, ptrdiff_t x_row, const fl_real *dy,
                  ptrdiff_t dy_row, fl_real *dw, ptrdiff_t w_row, int stream) {
    if (rows == 1 && stream) outer_product(1, k, n, x, x_row, dy, dy_row, dw, w_row, 1);
    else if (rows == 1) outer_product(1, k, n, x, x_row, dy, dy_row, dw, w_row, 0);
    else if (stream) outer_product(2, k, n, x, x_row, dy, dy_row, dw, w_row, 1);
    else outer_product(2, k, n, x, x_row, dy, dy_row, dw, w_row, 0);
}

const fl_skinny_ukernels FL_UK(skinny) = {
    .rows = rows, .finish = finish, .pack = pack, .dots = dots, .outer = outer, .lanes = VL};
