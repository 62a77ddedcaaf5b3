/* Loss micro-kernels of one instruction set and dtype. */
#ifndef FL_LOSS_UKERNELS_H
#define FL_LOSS_UKERNELS_H

#include "fl_types.h"
#include "loss_codes.h"

/* The sum of the losses of `rows` rows, in double, and dy = scale times its gradient in y.
 *
 * targets: fl_real of y's shape; for the sparse loss one int64_t a row, outside 0 ... columns - 1 only if somebody
 * changes them meanwhile, and then that row counts for nothing. */
typedef double fl_loss_ukernel(ptrdiff_t rows, ptrdiff_t columns, const fl_real *y, const void *targets, double scale,
                               fl_real *dy);

typedef struct {
    fl_loss_ukernel *from_probabilities[FL_LOSSES], *from_logits[FL_LOSSES];
} fl_loss_ukernels;

FL_DECLARE_ROWS(fl_loss_ukernels, loss);

#endif
