/* Optimizer micro-kernels of one instruction set and dtype: n elements, in place. */
#ifndef FL_OPTIMIZER_UKERNELS_H
#define FL_OPTIMIZER_UKERNELS_H

#include "fl_types.h"

typedef struct {
    fl_real decay; /* 1 - learning rate * weight decay */
    fl_real learning_rate, momentum;
} fl_sgd_rates;

typedef struct {
    fl_real decay, alpha, one_minus_beta_1, one_minus_beta_2, epsilon;
} fl_adam_rates;

/* velocity is NULL for the one without */
typedef void fl_sgd_ukernel(ptrdiff_t n, fl_sgd_rates, const fl_real *grad, fl_real *value, fl_real *velocity);

typedef struct {
    fl_sgd_ukernel *sgd, *sgd_momentum, *sgd_nesterov;
    void (*adam)(ptrdiff_t n, fl_adam_rates, const fl_real *grad, fl_real *value, fl_real *m, fl_real *v);
} fl_optimizer_ukernels;

FL_DECLARE_ROWS(fl_optimizer_ukernels, optimizer);

#endif
