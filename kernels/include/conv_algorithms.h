/* The ways to compute a convolution; driver/conv.c has them in a table. */
#ifndef FL_CONV_ALGORITHMS_H
#define FL_CONV_ALGORITHMS_H

#include "conv.h"
#include "fl_types.h"

typedef int fl_conv_forward(const fl_conv *, const void *x, const void *kernel, const void *bias, void *y, int activation,
                            double alpha);
typedef int fl_conv_backward_input(const fl_conv *, const void *dy, const void *kernel, void *dx);
typedef int fl_conv_backward_weight(const fl_conv *, const void *x, const void *dy, void *dkernel, void *dbias);

fl_conv_forward FL(direct_forward), FL(tapwise_forward), FL(pointwise_forward), FL(depthwise_forward),
    FL(winograd_f2_forward), FL(winograd_f4_forward), FL(winograd_f2_5x5_forward), FL(winograd_f4_2x2_forward),
    FL(winograd_f3_1x4_forward);
fl_conv_backward_input FL(direct_backward_input), FL(tapwise_backward_input), FL(pointwise_backward_input),
    FL(depthwise_backward_input), FL(scatter_backward_input), FL(winograd_f2_backward_input), FL(winograd_f4_backward_input),
    FL(winograd_f2_5x5_backward_input), FL(winograd_f3_1x4_backward_input);
fl_conv_backward_weight FL(direct_backward_weight), FL(pointwise_backward_weight), FL(pointwise_strided_backward_weight),
    FL(depthwise_backward_weight), FL(winograd_f2_backward_weight), FL(winograd_f4_backward_weight),
    FL(winograd_f2_5x5_backward_weight), FL(winograd_f4_2x2_backward_weight), FL(winograd_f3_1x4_backward_weight);

/* Channels of a group, at most, that the depthwise functions take; a power of two, 1 for depthwise alone. */
ptrdiff_t FL(depthwise_largest_group)(int isa);

#endif
