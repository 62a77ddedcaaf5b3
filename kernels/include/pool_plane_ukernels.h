/* Micro-kernels of pooling over whole planes, each a run of pixels, for one instruction set and dtype. */
#ifndef FL_POOL_PLANE_UKERNELS_H
#define FL_POOL_PLANE_UKERNELS_H

#include "fl_types.h"

typedef struct {
    /* y[plane] = first maximum of x[plane][pixels], argmax[plane] = its pixel; the first NaN wins over all */
    void (*max)(ptrdiff_t planes, ptrdiff_t pixels, const fl_real *x, fl_real *y, fl_int *argmax);
    /* y[plane] = mean of x[plane][pixels] */
    void (*average)(ptrdiff_t planes, ptrdiff_t pixels, const fl_real *x, fl_real *y);
    /* dx[plane][pixels] = dy[plane] / pixels */
    void (*spread)(ptrdiff_t planes, ptrdiff_t pixels, const fl_real *dy, fl_real *dx);
} fl_pool_plane_ukernels;

FL_DECLARE_ROWS(fl_pool_plane_ukernels, pool_plane);

#endif
