/* Depthwise convolution: channels side by side in the vector, one input and one output each. */
#ifndef FL_DEPTHWISE_UKERNELS_H
#define FL_DEPTHWISE_UKERNELS_H

#include "fl_types.h"

enum { FL_DEPTHWISE_PIXELS = 4 }; /* output pixels of a tile */

/* out[p][c] = f( sum_t x[t * FL_DEPTHWISE_PIXELS + p][c] w[t][c] + bias[c] ),  first <= c < first + n */
typedef struct {
    ptrdiff_t taps;
    const fl_real *const *x;
    const fl_real *const *w;
    fl_real *const *out;
    ptrdiff_t first, n;
    const fl_real *bias; /* or NULL */
    int activation;
    fl_real alpha;
} fl_depthwise_tile;

/* dw[t][c] += sum_p x[p * taps + t][c] dy[p][c]   and, unless db is NULL, db[c] += sum_p dy[p][c] */
typedef struct {
    ptrdiff_t pixels, taps;
    const fl_real *const *x;
    const fl_real *const *dy;
    ptrdiff_t first, n;
    fl_real *dw; /* tap t at dw + t * dw_tap */
    ptrdiff_t dw_tap;
    fl_real *db;
} fl_depthwise_sum;

typedef struct {
    void (*tile)(const fl_depthwise_tile *);
    void (*sum)(const fl_depthwise_sum *);
} fl_depthwise_ukernels;

FL_DECLARE_ROWS(fl_depthwise_ukernels, depthwise);

#endif
