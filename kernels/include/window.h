/* The geometry of a convolution or pooling, resolved for one input size; the C twin of shapes.Window2D.
 * Tap (i, j) of output (y, x) reads input (y*sh - top + i*dh, x*sw - left + j*dw). */
#ifndef FL_WINDOW_H
#define FL_WINDOW_H

#include <stddef.h>

typedef struct {
    ptrdiff_t h, w, oh, ow, kh, kw, sh, sw, dh, dw, top, bottom, left, right;
} fl_window;

#endif
