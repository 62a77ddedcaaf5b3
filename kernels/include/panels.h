/* Packing of a matrix into the column panels that the register tile reads. */
#ifndef FL_PANELS_H
#define FL_PANELS_H

#include <string.h>

#include "blocking.h"
#include "fl_types.h"

/* Copy n elements, in moves of a line: for runs so short that a call of memcpy would show. */
static inline void fl_copy_lines(ptrdiff_t n, const fl_real *from, fl_real *to) {
    enum { WHOLE = FL_LINE / sizeof(fl_real) };
    for (; n >= WHOLE; n -= WHOLE, to += WHOLE, from += WHOLE) memcpy(to, from, FL_LINE);
    if (n > 0) memcpy(to, from, (size_t)n * sizeof *to);
}

/* to[k * width + j] = from[k * k_step + j * n_step] for j < n, zero for n <= j < width; one of the steps is 1. */
void FL(pack_panel)(ptrdiff_t k, ptrdiff_t n, const fl_real *from, ptrdiff_t k_step, ptrdiff_t n_step, fl_real *to,
                    ptrdiff_t width, int isa);

#endif
