/* Transforms of Winograd's minimal filtering for 3x3 kernels, channels side by side in the vector.
 *
 * Y = A^T [ (G g G^T) . (B^T d B) ] A  for an m x m tile of outputs, m = 2 or 4, with p = m + 2 points an axis.
 * Source: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2015); interpolation points 0, +-1, inf for
 * m = 2 and 0, +-1/sqrt 2, +-sqrt 2, inf for m = 4, which round better than the integers of the paper. */
#ifndef FL_WINOGRAD_UKERNELS_H
#define FL_WINOGRAD_UKERNELS_H

#include "fl_types.h"

enum { FL_WINOGRAD_MAX_POINTS = 6, FL_WINOGRAD_MAX_TILE = 4 };

/* The p x p vectors of a tile from its pixels. */
typedef void fl_winograd_tile(ptrdiff_t channels, const fl_real *const *pixels, fl_real *v, ptrdiff_t v_xi);

typedef struct {
    /* v[xi * v_xi + c] = (B^T d B)[xi][c], d[i][j][c] = pixels[i * p + j][c];  v has room for whole vectors */
    fl_winograd_tile *input;
    /* u[xi * u_xi + i] = (G g G^T)[xi][i], g[tap][i] = taps[tap * size + i];  size a multiple of the vector */
    void (*weights)(ptrdiff_t size, const fl_real *taps, fl_real *u, ptrdiff_t u_xi);
    /* y[i * m + j][c] = f( (A^T s A)[i][j][c] + bias[c] ), s[xi][c] = sums[xi * s_xi + c] */
    void (*output)(ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi, const fl_real *bias, int activation, fl_real alpha,
                   fl_real *const *y);
} fl_winograd_transforms;

/* The weight gradient takes m x m tiles of dy as the filter and gives 3 x 3 outputs, on the same points:
 * dW = A3^T [ sum over tiles (Gm dy Gm^T) . (B^T d B) ] A3. */
typedef struct {
    /* z[xi * z_xi + o] = (Gm dy Gm^T)[xi][o], dy[i][j][o] = pixels[i * m + j][o];  z has room for whole vectors */
    fl_winograd_tile *gradient;
    /* the upper and the lower half of the xi alone, from v and z on */
    fl_winograd_tile *half_input[2], *half_gradient[2];
    /* dw[tap][o] (+)= (A3^T s A3)[tap][o], s[xi][o] = sum over slices of sums[slice * s_slice + xi * s_xi + o] */
    void (*weights)(ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi, ptrdiff_t slices, ptrdiff_t s_slice, fl_real *const *dw,
                    int accumulate);
} fl_winograd_gradient;

typedef struct {
    fl_winograd_transforms f2, f4;
    fl_winograd_gradient f2_gradient, f4_gradient;
} fl_winograd_ukernels;

FL_DECLARE_ROWS(fl_winograd_ukernels, winograd);

#endif
