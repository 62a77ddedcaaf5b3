/* Element-wise micro-kernels of one instruction set and dtype. */
#ifndef FL_ACTIVATION_UKERNELS_H
#define FL_ACTIVATION_UKERNELS_H

#include "activation_codes.h"
#include "fl_types.h"

typedef struct {
    /* y[i] = f(x[i]); y may be x.  An element's bits do not depend on its place in the array. */
    void (*forward[FL_ACTIVATIONS])(ptrdiff_t n, const fl_real *x, fl_real *y, fl_real alpha);
    /* dx[i] = dy[i] f'(.), from r = y, except gelu and silu: r = x; dx may be dy. */
    void (*backward[FL_ACTIVATIONS])(ptrdiff_t n, const fl_real *dy, const fl_real *r, fl_real *dx, fl_real alpha);
} fl_activation_ukernels;

FL_DECLARE_ROWS(fl_activation_ukernels, activation);

#endif
