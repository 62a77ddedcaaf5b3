/* The register tile under dense layers and convolutions, for one instruction set and dtype. */
#ifndef FL_GEMM_UKERNELS_H
#define FL_GEMM_UKERNELS_H

#include "fl_types.h"

enum { FL_MAX_MR = 28, FL_MAX_NR = 64 }; /* no tile has more rows, or columns */

/* One tile:  C(i, j) = f( C(i, j) + sum_t sum_k A(t, i, k) B(t, k, j) + bias[j] ),   i < mr, j < n
 *
 *     A(t, i, k) = a[t * a_next + i][a_offset + t * a_step + k * a_k]     rows are read through pointers: no packing;
 *                                                                         a_at[t] takes the place of t * a_step unless NULL
 *     B(t, k, j) = b[order[t] * b_next + k * b_k + j]                     order NULL: 0, 1, 2 ...
 *     C(i, j)    = c[i][c_offset + j]                                     a row nobody wants points to scratch
 *
 * Sums run over t, then k, in order, one
 * accumulator per element: an element's bits do not depend on the tile it falls in.  Columns n.. of B are read up to the
 * tile's width and must be readable; columns n.. of C and bias are not touched. */
typedef struct {
    ptrdiff_t taps, k;
    const fl_real *const *a;
    ptrdiff_t a_next, a_offset, a_step, a_k;
    const ptrdiff_t *a_at;
    const fl_real *b;
    ptrdiff_t b_next, b_k;
    const ptrdiff_t *order;
    fl_real *const *c;
    ptrdiff_t c_offset, n;
    int accumulate;       /* read C; otherwise it is only written, and may hold anything before */
    const fl_real *bias;  /* n values, or NULL */
    int activation;       /* enum fl_activation */
    fl_real alpha;
} fl_tile;

typedef void fl_run_tile(const fl_tile *);

typedef struct {
    ptrdiff_t mr, mr_short;   /* rows of a tile, and of the one for a short rest */
    ptrdiff_t mr_tall;        /* rows of a narrow one that reads B once for many of them, from memory if need be */
    ptrdiff_t nr, nr_narrow;  /* columns of a tile, and of the one for a narrow rest */
    fl_run_tile *tile, *tile_narrow, *tile_short, *tile_short_narrow, *tile_tall;
    fl_run_tile *tile_tall_of_5, *tile_tall_of_9; /* tall, for rows of A that are neighbours in memory, so many at a time */
} fl_gemm_ukernels;

/* The width of the panel, and the tile, that so many columns take. */
static inline ptrdiff_t fl_panel_width(const fl_gemm_ukernels *uk, ptrdiff_t columns) {
    return columns <= uk->nr_narrow ? uk->nr_narrow : uk->nr;
}
static inline fl_run_tile *fl_tile_of_width(const fl_gemm_ukernels *uk, ptrdiff_t width) {
    return width == uk->nr ? uk->tile : uk->tile_narrow;
}

/* The tall tile for rows of A that come in runs of `length` neighbours. */
static inline fl_run_tile *fl_tall_tile_of(const fl_gemm_ukernels *uk, ptrdiff_t length) {
    return length == 5 ? uk->tile_tall_of_5 : length == 9 ? uk->tile_tall_of_9 : uk->tile_tall;
}

/* The rows of the next tile, when so many are left: short ones where they do less work for nothing. */
static inline ptrdiff_t fl_tile_rows(const fl_gemm_ukernels *uk, ptrdiff_t left) {
    return fl_ceil_div(left, uk->mr_short) * uk->mr_short < uk->mr ? uk->mr_short : uk->mr;
}
static inline fl_run_tile *fl_tile_of(const fl_gemm_ukernels *uk, ptrdiff_t rows, ptrdiff_t width) {
    return rows == uk->mr ? fl_tile_of_width(uk, width) : width == uk->nr ? uk->tile_short : uk->tile_short_narrow;
}

/* Ask for `depth` elements, from a[i] + offset on, of the rows of a tile that comes next. */
static inline void fl_prefetch_rows(ptrdiff_t rows, const fl_real *const *a, ptrdiff_t offset, ptrdiff_t depth) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t k = 0; k < depth; k += 64 / (ptrdiff_t)sizeof(fl_real)) __builtin_prefetch(a[i] + offset + k);
}

FL_DECLARE_ROWS(fl_gemm_ukernels, gemm);

#endif
