/* Dense layers: y = f(x W + b) with x (rows, inputs), W (inputs, units); drivers, one set per dtype.
 *
 * All arrays are contiguous; pointers are untyped so that callers handle both dtypes alike.  Each returns FL_OK or
 * FL_ENOMEM. */
#ifndef FL_DENSE_H
#define FL_DENSE_H

#include <stddef.h>

enum fl_dense_pass { FL_DENSE_FORWARD, FL_DENSE_BACKWARD_INPUT, FL_DENSE_BACKWARD_WEIGHT };

typedef struct {
    ptrdiff_t rows, inputs, units;
    int isa, threads;
} fl_dense;

typedef int fl_dense_forward(const fl_dense *, const void *x, const void *kernel, const void *bias, void *y, int activation,
                             double alpha);
typedef int fl_dense_backward_input(const fl_dense *, const void *dy, const void *kernel, void *dx);
typedef int fl_dense_backward_weight(const fl_dense *, const void *x, const void *dy, void *dkernel, void *dbias);

typedef struct {
    fl_dense_forward *forward;                 /* bias may be NULL */
    fl_dense_backward_input *backward_input;
    fl_dense_backward_weight *backward_weight; /* dbias may be NULL */
    const char *(*algorithm)(const fl_dense *, enum fl_dense_pass); /* name of the one that a pass takes */
} fl_dense_driver;

extern const fl_dense_driver fl_dense_driver_f32, fl_dense_driver_f64;

#endif
