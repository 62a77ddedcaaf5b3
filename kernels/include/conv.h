/* Convolution, and the dense layer as its 1x1 case: drivers, one set per dtype.
 *
 * Layouts: images (batch, h, w, channels), kernels (kh, kw, channels / groups, filters), all contiguous.  Pointers are
 * untyped here so that callers handle both dtypes alike.  Each returns FL_OK or FL_ENOMEM, and in the second case has
 * written nothing. */
#ifndef FL_CONV_H
#define FL_CONV_H

#include "window.h"

typedef struct {
    fl_window window;
    ptrdiff_t batch, channels, filters, groups;
    int isa, threads;
} fl_conv;

typedef struct {
    /* y = f(x * kernel + bias); bias may be NULL */
    int (*forward)(const fl_conv *, const void *x, const void *kernel, const void *bias, void *y, int activation, double alpha);
    /* dx: every input pixel gathers from the outputs it took part in */
    int (*backward_input)(const fl_conv *, const void *dy, const void *kernel, void *dx);
    /* dkernel, and dbias unless NULL: sums over all output pixels, in slices that depend on the problem alone */
    int (*backward_weight)(const fl_conv *, const void *x, const void *dy, void *dkernel, void *dbias);
    /* y (n, hw, c) = x (n, c, hw), and back */
    void (*to_channels_last)(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const void *x, void *y, int isa, int threads);
    void (*to_channels_first)(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const void *x, void *y, int isa, int threads);
    /* rows and columns of the register tile */
    ptrdiff_t (*tile_rows)(int isa), (*tile_columns)(int isa);
} fl_conv_driver;

extern const fl_conv_driver fl_conv_driver_f32, fl_conv_driver_f64;

#endif
