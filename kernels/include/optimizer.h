/* Optimizer steps: drivers, one set per dtype.  All arrays are contiguous and have n elements; pointers are untyped so that
 * callers handle both dtypes alike. */
#ifndef FL_OPTIMIZER_H
#define FL_OPTIMIZER_H

#include <stddef.h>

typedef struct {
    double learning_rate, momentum, weight_decay;
    int nesterov;
} fl_sgd;

typedef struct {
    double alpha; /* the learning rate of this step, bias corrected */
    double learning_rate, beta_1, beta_2, epsilon, weight_decay;
} fl_adam;

typedef struct {
    /* value and velocity in place; velocity may be NULL */
    void (*sgd)(const fl_sgd *, ptrdiff_t n, const void *grad, void *value, void *velocity, int isa, int threads);
    /* value, m and v in place */
    void (*adam)(const fl_adam *, ptrdiff_t n, const void *grad, void *value, void *m, void *v, int isa, int threads);
} fl_optimizer_driver;

extern const fl_optimizer_driver fl_optimizer_driver_f32, fl_optimizer_driver_f64;

#endif
