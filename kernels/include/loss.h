/* Losses: drivers, one set per dtype.  All arrays are contiguous; pointers are untyped so that callers handle both dtypes
 * alike. */
#ifndef FL_LOSS_H
#define FL_LOSS_H

#include <stddef.h>

#include "loss_codes.h"

typedef struct {
    int loss, from_logits;
    ptrdiff_t rows, columns; /* losses without classes: rows = size, columns = 1 */
    int isa, threads;
} fl_loss;

typedef struct {
    /* *mean = mean of the losses over the rows, 0 when there is none; dy = its gradient in y.
     * targets: of y's shape and dtype; for the sparse loss int64_t labels, one a row.
     * Returns FL_OK, or FL_ENOMEM and has written nothing. */
    int (*run)(const fl_loss *, const void *y, const void *targets, void *dy, double *mean);
} fl_loss_driver;

extern const fl_loss_driver fl_loss_driver_f32, fl_loss_driver_f64;

#endif
