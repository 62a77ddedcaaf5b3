/* Blocks of a matrix product C = A B, for one instruction set and dtype: B packed in panels, A as it stands.
 *
 * Sums run over k in order, one accumulator per element: an element's bits do not depend on the tile it falls in. */
#ifndef FL_BLOCKED_UKERNELS_H
#define FL_BLOCKED_UKERNELS_H

#include "fl_types.h"

enum {
    FL_BLOCKED_DEPTH = 256, /* k at most, in one call */
    FL_BLOCKED_SPACE = 16,  /* elements left free after a panel: panels a power of two apart would share a cache set */
};

typedef struct {
    /* c(i, j) = [ c(i, j) + ] sum over k of a[i * a_row + k * a_k] b(k, j),   i < m, j < n, k < depth <= FL_BLOCKED_DEPTH;
     * a_row or a_k is 1, b as `pack` lays it out */
    void (*product)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, ptrdiff_t a_row, ptrdiff_t a_k,
                    const fl_real *packed, fl_real *c, ptrdiff_t c_row, int accumulate);

    /* b(k, j) = b[k * b_k + j * b_col], b_k or b_col is 1, in panels of `panel` columns, a rest of less than half of them in
     * one of half the width: [panel][k][width], zero beyond n, FL_BLOCKED_SPACE elements after each panel */
    void (*pack)(ptrdiff_t depth, ptrdiff_t n, const fl_real *b, ptrdiff_t b_k, ptrdiff_t b_col, fl_real *packed);
    ptrdiff_t rows, panel; /* of a tile */
} fl_blocked_ukernels;

FL_DECLARE_ROWS(fl_blocked_ukernels, blocked);

#endif
