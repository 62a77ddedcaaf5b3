/* Pooling: drivers, one set per dtype.
 *
 * Images are contiguous, (batch, h, w, channels) or, with channels_first, (batch, channels, h, w).  An argmax is the
 * number i * kw + j of a tap, a byte where the window has at most 256 of them, else an int32.  Pointers are untyped here
 * so that callers handle both dtypes alike.  Each returns FL_OK, FL_ENOMEM or FL_POOL_EMPTY_WINDOW, and in the last two
 * cases has written nothing. */
#ifndef FL_POOL_H
#define FL_POOL_H

#include "window.h"

enum { FL_POOL_EMPTY_WINDOW = 100 }; /* some window holds no input pixel, and its result would have no meaning */

typedef struct {
    fl_window window;
    ptrdiff_t batch, channels;
    int channels_first, isa, threads;
} fl_pool;

typedef struct {
    /* y = first maximum of each window, its tap in argmax unless that is NULL; the first NaN wins over all */
    int (*max)(const fl_pool *, const void *x, void *y, void *argmax);
    /* dx: every input pixel gathers from the windows whose maximum it was */
    int (*max_backward)(const fl_pool *, const void *dy, const void *argmax, void *dx);
    /* y = sum of each window's input pixels / how many there are, or how many taps the padded input holds */
    int (*average)(const fl_pool *, const void *x, void *y, int count_include_pad);
    int (*average_backward)(const fl_pool *, const void *dy, void *dx, int count_include_pad);
} fl_pool_driver;

extern const fl_pool_driver fl_pool_driver_f32, fl_pool_driver_f64;

#endif
