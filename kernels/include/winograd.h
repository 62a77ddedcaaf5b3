/* What convolution forward and its input gradient ask of Winograd's algorithm. */
#ifndef FL_WINOGRAD_H
#define FL_WINOGRAD_H

#include "fl_types.h"
#include "window.h"
#include "winograd_ukernels.h"

/* A convolution forward, or its input gradient where there is no stride: k inputs and n outputs in each group. */
typedef struct {
    const fl_real *x; /* (batch, h, w, groups * k) */
    ptrdiff_t batch, h, w, groups, k;
    const fl_real *weights; /* element (tap, k, j) of group g: weights[tap * w_tap + g * w_group + k * w_k + j * w_n] */
    ptrdiff_t w_tap, w_group, w_k, w_n;
    int flip; /* the first tap uses the last weights, and so on */
    fl_real *y; /* (batch, oh, ow, groups * n); tap (i, j) of pixel (r, c) reads x at (r * sh - top + i * dh, c * sw - left + j * dw) */
    ptrdiff_t oh, ow, n, top, left;
    const fl_window *window; /* for the kernel's size, stride and dilation */
    const fl_real *bias;
    fl_real alpha;
    int activation, isa, threads;
} fl_winograd_problem;

int FL(winograd_convolution)(const fl_winograd_problem *, const fl_winograd_form *);

#endif
