/* Packing of a matrix into the column panels that the register tile reads. */
#ifndef FL_PANELS_H
#define FL_PANELS_H

#include "fl_types.h"

/* to[k * width + j] = from[k * k_step + j * n_step] for j < n, zero for n <= j < width; one of the steps is 1. */
void FL(pack_panel)(ptrdiff_t k, ptrdiff_t n, const fl_real *from, ptrdiff_t k_step, ptrdiff_t n_step, fl_real *to,
                    ptrdiff_t width, int isa);

#endif
