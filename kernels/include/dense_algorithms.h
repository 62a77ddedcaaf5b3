/* The ways to compute a dense layer; driver/dense.c has them in a table. */
#ifndef FL_DENSE_ALGORITHMS_H
#define FL_DENSE_ALGORITHMS_H

#include "dense.h"
#include "fl_types.h"

fl_dense_forward FL(skinny_forward);
fl_dense_backward_input FL(skinny_backward_input), FL(narrow_backward_input);
fl_dense_backward_weight FL(skinny_backward_weight), FL(narrow_backward_weight);

#endif
