/* Transforms of Winograd's minimal filtering, channels side by side in the vector.
 *
 * Y = A^T [ (G g G^T) . (B^T d B) ] A  for an m x m tile of outputs and r x r taps, with p = m + r - 1 points an axis.
 * Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2015); interpolation points 0, +-1, inf for
 * p = 4, and +-1/sqrt 2, +-sqrt 2, inf for p = 5, with 0 for p = 6, which round better than the integers of the paper.
 * A form of one axis does the same along a row of pixels, or a column: Y = A^T [ (G g) . (B^T d) ].
 *
 * The weight gradient takes tiles of dy as the filter and has r x r outputs, on the same points:
 * dW = A^T [ sum over tiles (G dy G^T) . (B^T d B) ] A, where G and A are those of r outputs and m taps. */
#ifndef FL_WINOGRAD_UKERNELS_H
#define FL_WINOGRAD_UKERNELS_H

#include "fl_types.h"

enum { FL_WINOGRAD_MAX_POINTS = 6, FL_WINOGRAD_MAX_TILE = 4, FL_WINOGRAD_MAX_TAPS = 5 };

/* The p x p vectors of a tile from its pixels; those of the tile that comes next lie `next` elements behind them. */
typedef void fl_winograd_tile(ptrdiff_t channels, ptrdiff_t next, const fl_real *const *pixels, fl_real *v, ptrdiff_t v_xi);

/* One pair of m and r, for two axes.  Where axes = 1, read m, r, p for m x m, r x r, p x p, and [i] for [i][j]. */
typedef struct {
    int axes;
    ptrdiff_t tile, taps, points; /* m, r, p */
    /* v[xi * v_xi + c] = (B^T d B)[xi][c], d[i][j][c] = pixels[i * p + j][c];  v has room for whole vectors */
    fl_winograd_tile *input;
    /* u[xi * u_xi + i] = (G g G^T)[xi][i], g[tap][i] = taps[tap * size + i];  size a multiple of the vector */
    void (*weights)(ptrdiff_t size, const fl_real *taps, fl_real *u, ptrdiff_t u_xi);
    /* y[i * m + j][c] = f( (A^T s A)[i][j][c] + bias[c] ), s[xi][c] = sums[xi * s_xi + c];  next as above */
    void (*output)(ptrdiff_t columns, ptrdiff_t next, const fl_real *sums, ptrdiff_t s_xi, const fl_real *bias, int activation,
                   fl_real alpha, fl_real *const *y);
    /* z[xi * z_xi + o] = (G dy G^T)[xi][o], dy[i][j][o] = pixels[i * m + j][o], and their sum over i, j as one more xi;  z has
     * room for whole vectors */
    fl_winograd_tile *gradient;
    /* the upper and the lower half of the xi alone, from v and z on; the upper with dy's sum */
    fl_winograd_tile *half_input[2], *half_gradient[2];
    /* dw[tap][o] (+)= (A^T s A)[tap][o], s[xi][o] = sum over slices of sums[slice * s_slice + xi * s_xi + o] */
    void (*weights_gradient)(ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi, ptrdiff_t slices, ptrdiff_t s_slice,
                             fl_real *const *dw, int accumulate);
} fl_winograd_form;

/* f2: m = 2 and r = 3, f4: m = 4 and r = 3, f2_5x5: m = 2 and r = 5, f4_2x2: m = 4 and r = 2, f3_1x4: m = 3 and r = 4 on one axis */
typedef struct {
    fl_winograd_form f2, f4, f2_5x5, f4_2x2, f3_1x4;
} fl_winograd_ukernels;

FL_DECLARE_ROWS(fl_winograd_ukernels, winograd);

#endif
