/* Images between channels first and channels last. */
#ifndef FL_LAYOUT_H
#define FL_LAYOUT_H

#include "fl_types.h"

/* y (n, hw, c) = x (n, c, hw) */
void FL(nchw_to_nhwc)(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const fl_real *x, fl_real *y, int isa, int threads);

/* y (n, c, hw) = x (n, hw, c) */
void FL(nhwc_to_nchw)(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const fl_real *x, fl_real *y, int isa, int threads);

#endif
