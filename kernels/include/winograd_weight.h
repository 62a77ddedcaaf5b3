/* What the weight gradient by Winograd's algorithm works on: driver/winograd_backward_weight.c. */
#ifndef FL_WINOGRAD_WEIGHT_H
#define FL_WINOGRAD_WEIGHT_H

#include "conv.h"
#include "gemm_ukernels.h"
#include "winograd_tiles.h"

typedef struct {
    const fl_conv *c;
    const fl_gemm_ukernels *gemm;
    const fl_winograd_form *form;
    fl_winograd_tile *input[2], *tile_gradient[2]; /* of each half of the xi, or the first of all */
    ptrdiff_t xis;
    ptrdiff_t parts, part;        /* of the kernel, and the one at hand in the order "ranges" */
    ptrdiff_t halves;             /* in how many passes the xi are done: 1 or 2 */
    const fl_real *x, *dy;
    fl_real *dkernel, *dbias; /* dbias or NULL */
    fl_tiling tiling;
    ptrdiff_t k, n;               /* channels and filters of a group */
    ptrdiff_t tiles, panels;      /* panels of a group */
    ptrdiff_t v_width, z_width;   /* elements of a tile's row in V, which holds a part at a time, and in Z */
    ptrdiff_t block;              /* tiles held in one V and Z */
    ptrdiff_t together, runs;     /* groups held in one V and Z of the order "slices" */
    ptrdiff_t slices, s_xi, s_width; /* S: rows s_width apart */
    int by_slices;
    ptrdiff_t ranges, range_rows, first_tile; /* of the order "ranges" */
    fl_real *shared;              /* S [run][slice], or V and Z of the batch */
    fl_real *slice_bias;          /* [slice][filter] */
    char *scratch;
    ptrdiff_t scratch_bytes;
} fl_winograd_sums;

static inline ptrdiff_t v_xi(const fl_winograd_sums *p) { return p->block * p->v_width + FL_WINOGRAD_PAD; }
static inline ptrdiff_t z_xi(const fl_winograd_sums *p) { return p->block * p->z_width + FL_WINOGRAD_PAD; }
static inline fl_real *scratch_of(const fl_winograd_sums *p, int thread) { return (fl_real *)(p->scratch + thread * p->scratch_bytes); }

/* The first xi of a half, and how many it has. */
static inline ptrdiff_t first_xi(const fl_winograd_sums *p, ptrdiff_t half) {
    const ptrdiff_t points = p->form->points;
    return half == 0 ? 0 : half == p->halves ? p->xis : points / 2 * (p->xis / points);
}
static inline ptrdiff_t held_xis(const fl_winograd_sums *p, ptrdiff_t half) { return first_xi(p, half + 1) - first_xi(p, half); }

#endif
