/* Activations: drivers, one set per dtype.  All arrays are contiguous; pointers are untyped so that callers handle both
 * dtypes alike.  The output may be the (first) input. */
#ifndef FL_ACTIVATION_H
#define FL_ACTIVATION_H

#include <stddef.h>

#include "activation_codes.h"

typedef struct {
    /* y = f(x), n elements */
    void (*forward)(ptrdiff_t n, const void *x, void *y, int activation, double alpha, int isa, int threads);
    /* dx = dy f'(.) from r = y, except gelu and silu: r = x */
    void (*backward)(ptrdiff_t n, const void *dy, const void *r, void *dx, int activation, double alpha, int isa, int threads);
    /* row by row: y = exp(x) / sum of exp(x) */
    void (*softmax)(ptrdiff_t rows, ptrdiff_t columns, const void *x, void *y, int isa, int threads);
    /* row by row: dx = y (dy - sum of dy y) */
    void (*softmax_backward)(ptrdiff_t rows, ptrdiff_t columns, const void *dy, const void *y, void *dx, int isa, int threads);
} fl_activation_driver;

extern const fl_activation_driver fl_activation_driver_f32, fl_activation_driver_f64;

#endif
