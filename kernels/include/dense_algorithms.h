/* The ways to compute a dense layer; driver/dense.c has them in a table. */
#ifndef FL_DENSE_ALGORITHMS_H
#define FL_DENSE_ALGORITHMS_H

#include "dense.h"
#include "fl_types.h"

fl_dense_forward FL(skinny_forward), FL(narrow_forward), FL(blocked_forward);
fl_dense_backward_input FL(skinny_backward_input), FL(blocked_backward_input);
fl_dense_backward_weight FL(skinny_backward_weight), FL(narrow_backward_weight), FL(blocked_backward_weight);

enum { FL_NARROW_UNITS = 4 }; /* at most, for narrow_forward */

/* What fl_team weighs against the start of a team: flops, or what moving the arrays costs.  These kernels finish a
 * million flops before another thread has woken up, so a third of them is counted. */
static inline double FL(dense_work)(const fl_dense *d) {
    const double rows = (double)d->rows, inputs = (double)d->inputs, units = (double)d->units;
    const double flops = 2 * rows * inputs * units, moved = (inputs * units + rows * (inputs + units)) * sizeof(fl_real);
    return FL_MAX(flops, 4 * moved) / 3;
}

#endif
