/* Blocks of a matrix product C = A B, for one instruction set and dtype: B packed in panels, A as it stands.
 *
 * Sums run over k in order, one accumulator per element: an element's bits do not depend on the tile it falls in. */
#ifndef FL_BLOCKED_UKERNELS_H
#define FL_BLOCKED_UKERNELS_H

#include "blocking.h"
#include "fl_types.h"

enum {
    FL_BLOCKED_DEPTH = 256, /* k at most, in one call */
    FL_BLOCKED_SPACE = 16,  /* elements left free after a panel: panels a power of two apart would share a cache set */
};

/* Memory that will be read soon, and is asked for line by line: `runs` of them, `lines` each. */
typedef struct {
    const char *at;         /* the next line */
    ptrdiff_t left;         /* lines of this run from there on */
    ptrdiff_t lines, skip;  /* of every run; bytes from one's last line to the next one */
    ptrdiff_t runs;
} fl_runs;

/* `runs` runs of n elements, `step` elements apart; those that follow each other are one. */
static inline fl_runs fl_runs_of(ptrdiff_t runs, ptrdiff_t n, const fl_real *first, ptrdiff_t step) {
    if (step == n && runs > 0) n *= runs, runs = 1;
    const ptrdiff_t bytes = n * (ptrdiff_t)sizeof *first, lines = (bytes + 2 * FL_LINE - 2) / FL_LINE;
    return (fl_runs){(const char *)first, lines, lines, step * (ptrdiff_t)sizeof *first - lines * FL_LINE, n > 0 ? runs : 0};
}

/* What a block's sums go through on their way to C. */
typedef struct {
    int accumulate;      /* C is added, */
    const fl_real *bias; /* or NULL: then one of these for each column, */
    int relu;            /* then the negative ones become zero, */
    int stream;          /* and they are stored past the caches: C and its rows begin with a line, and its columns fill lines */
} fl_block_end;

typedef struct {
    /* c(i, j) = end( sum over k of a[i * a_row + k * a_k] b(k, j) ),   i < m, j < n, k < depth <= FL_BLOCKED_DEPTH;
     * a_row or a_k is 1, b as `pack` lays it out.  Meanwhile rows of a are asked for, of which `m_after` more than m will be
     * needed, and what the next block reads: of b, and of a if its columns are along m. */
    void (*product)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *a, ptrdiff_t a_row, ptrdiff_t a_k,
                    const fl_real *packed, fl_real *c, ptrdiff_t c_row, const fl_block_end *end, ptrdiff_t m_after,
                    fl_runs next[2]);

    /* c[i][c_at + j] += sum over k of a[i][a_at + k] b(k, j),   i < m, j < n, k < depth <= FL_BLOCKED_DEPTH; what the next block
     * reads of b is asked for. */
    void (*gathered)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t depth, const fl_real *const *a, ptrdiff_t a_at, const fl_real *packed,
                     fl_real *const *c, ptrdiff_t c_at, fl_runs *next);

    /* b(k, j) = b[k * b_k + j * b_col], b_k or b_col is 1, in panels of `panel` columns, a rest of less than half of them in
     * one of half the width: [panel][k][width], zero beyond n, FL_BLOCKED_SPACE elements after each panel */
    void (*pack)(ptrdiff_t depth, ptrdiff_t n, const fl_real *b, ptrdiff_t b_k, ptrdiff_t b_col, fl_real *packed);
    ptrdiff_t rows, panel; /* of a tile */
} fl_blocked_ukernels;

FL_DECLARE_ROWS(fl_blocked_ukernels, blocked);

#endif
