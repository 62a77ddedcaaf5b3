/* Convolution, and the dense layer as its 1x1 case: drivers, one set per dtype.
 *
 * Layouts: images (batch, h, w, channels), kernels (kh, kw, channels / groups, filters), all contiguous.  Pointers are
 * untyped here so that callers handle both dtypes alike.  Each returns FL_OK or FL_ENOMEM. */
#ifndef FL_CONV_H
#define FL_CONV_H

#include "window.h"

/* What a caller may ask for instead of one algorithm of the table. */
enum { FL_CONV_AUTO = -1, FL_CONV_PRECISE = -2 };

enum fl_conv_pass { FL_CONV_FORWARD, FL_CONV_BACKWARD_INPUT, FL_CONV_BACKWARD_WEIGHT };

typedef struct {
    fl_window window;
    ptrdiff_t batch, channels, filters, groups;
    int algorithm; /* its number in the table, or one of the wishes above */
    int isa, threads;
} fl_conv;

typedef struct {
    /* y = f(x * kernel + bias); bias may be NULL */
    int (*forward)(const fl_conv *, const void *x, const void *kernel, const void *bias, void *y, int activation, double alpha);
    /* dx: every input pixel gathers from the outputs it took part in */
    int (*backward_input)(const fl_conv *, const void *dy, const void *kernel, void *dx);
    /* dkernel, and dbias unless NULL: sums over all output pixels, in slices that depend on the problem alone */
    int (*backward_weight)(const fl_conv *, const void *x, const void *dy, void *dkernel, void *dbias);

    /* The algorithm that a pass will take: its number, or -1 when the one asked for can't do it. */
    int (*choose)(const fl_conv *, enum fl_conv_pass);
    const char *(*algorithm_name)(int number); /* NULL past the end of the table */

    /* y (n, hw, c) = x (n, c, hw), and back */
    void (*to_channels_last)(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const void *x, void *y, int isa, int threads);
    void (*to_channels_first)(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const void *x, void *y, int isa, int threads);

    ptrdiff_t (*tile_rows)(int isa), (*tile_columns)(int isa); /* of the register tile */
} fl_conv_driver;

extern const fl_conv_driver fl_conv_driver_f32, fl_conv_driver_f64;

#endif
