/* The weight gradient of a convolution; see driver/conv_backward_weight.c. */
#ifndef FL_CONV_BACKWARD_WEIGHT_H
#define FL_CONV_BACKWARD_WEIGHT_H

#include "conv.h"
#include "fl_types.h"

int FL(conv_backward_weight)(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias);

#endif
