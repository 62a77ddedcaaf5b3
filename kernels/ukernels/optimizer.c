/* Optimizer steps: every array is read and written once. */
#include "optimizer_ukernels.h"

#include "varray.h"

/* value = decay value - rate grad */
static void sgd(ptrdiff_t n, fl_sgd_rates rates, const fl_real *grad, fl_real *value, fl_real *velocity) {
    (void)velocity;
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal w = rates.decay * vload_next(value + i, n - i);
        vstore_next(value + i, w - rates.learning_rate * vload_next(grad + i, n - i), n - i);
    }
}

/* velocity = momentum velocity - rate grad; value = decay value + velocity */
static void sgd_momentum(ptrdiff_t n, fl_sgd_rates rates, const fl_real *grad, fl_real *value, fl_real *velocity) {
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal v = rates.momentum * vload_next(velocity + i, n - i) - rates.learning_rate * vload_next(grad + i, n - i);
        vstore_next(velocity + i, v, n - i);
        vstore_next(value + i, rates.decay * vload_next(value + i, n - i) + v, n - i);
    }
}

/* the same velocity; value = decay value + momentum velocity - rate grad */
static void sgd_nesterov(ptrdiff_t n, fl_sgd_rates rates, const fl_real *grad, fl_real *value, fl_real *velocity) {
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal step = rates.learning_rate * vload_next(grad + i, n - i);
        vreal v = rates.momentum * vload_next(velocity + i, n - i) - step;
        vstore_next(velocity + i, v, n - i);
        vstore_next(value + i, rates.decay * vload_next(value + i, n - i) + (rates.momentum * v - step), n - i);
    }
}

/* m += (1 - beta_1) (grad - m); v += (1 - beta_2) (grad^2 - v); value = decay value - alpha m / (sqrt(v) + epsilon) */
static void adam(ptrdiff_t n, fl_adam_rates rates, const fl_real *grad, fl_real *value, fl_real *m, fl_real *v) {
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal g = vload_next(grad + i, n - i), mean = vload_next(m + i, n - i), square = vload_next(v + i, n - i);
        mean += rates.one_minus_beta_1 * (g - mean);
        square += rates.one_minus_beta_2 * (g * g - square);
        vreal w = rates.decay * vload_next(value + i, n - i) - rates.alpha * mean / (vsqrt(square) + rates.epsilon);
        vstore_next(m + i, mean, n - i);
        vstore_next(v + i, square, n - i);
        vstore_next(value + i, w, n - i);
    }
}

const fl_optimizer_ukernels FL_UK(optimizer) = {sgd, sgd_momentum, sgd_nesterov, adam};
