/* Convolution by Winograd's algorithm: forward and the input gradient as problems of winograd.c. */
#include "conv_algorithms.h"
#include "winograd.h"
#include "winograd_ukernels.h"

static const fl_winograd_ukernels *const winograd_ukernels[] = {FL_ISA_ROWS(winograd)};

static int forward(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y, int activation, double alpha,
                   const fl_winograd_form *form) {
    const fl_window *w = &c->window;
    const ptrdiff_t k = c->channels / c->groups, n = c->filters / c->groups;
    const fl_winograd_problem g = {.x = x, .batch = c->batch, .h = w->h, .w = w->w, .groups = c->groups, .k = k,
                                   .weights = kernel, .w_tap = k * c->filters, .w_group = n, .w_k = c->filters, .w_n = 1,
                                   .y = y, .oh = w->oh, .ow = w->ow, .n = n,
                                   .top = w->top, .left = w->left, .window = w,
                                   .bias = bias, .activation = activation, .alpha = (fl_real)alpha,
                                   .isa = c->isa, .threads = c->threads};
    return FL(winograd_convolution)(&g, form);
}

/* dx is, without a stride, the convolution of dy with the kernel turned by half a circle, padded so that it has x's size. */
static int backward_input(const fl_conv *c, const void *dy, const void *kernel, void *dx, const fl_winograd_form *form) {
    const fl_window *w = &c->window;
    const ptrdiff_t reach_y = (w->kh - 1) * w->dh, reach_x = (w->kw - 1) * w->dw;
    const ptrdiff_t k = c->filters / c->groups, n = c->channels / c->groups;
    const fl_winograd_problem g = {.x = dy, .batch = c->batch, .h = w->oh, .w = w->ow, .groups = c->groups, .k = k, .flip = 1,
                                   .weights = kernel, .w_tap = n * c->filters, .w_group = k, .w_k = 1, .w_n = c->filters,
                                   .y = dx, .oh = w->h, .ow = w->w, .n = n,
                                   .top = reach_y - w->top, .left = reach_x - w->left, .window = w,
                                   .isa = c->isa, .threads = c->threads};
    return FL(winograd_convolution)(&g, form);
}

#define FORWARD(form)                                                                                                    \
    int FL(winograd_##form##_forward)(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y,    \
                                      int activation, double alpha) {                                                    \
        return forward(c, x, kernel, bias, y, activation, alpha, &winograd_ukernels[c->isa]->form);                      \
    }
#define BACKWARD_INPUT(form)                                                                                             \
    int FL(winograd_##form##_backward_input)(const fl_conv *c, const void *dy, const void *kernel, void *dx) {           \
        return backward_input(c, dy, kernel, dx, &winograd_ukernels[c->isa]->form);                                      \
    }
FORWARD(f2)
FORWARD(f4)
FORWARD(f2_5x5)
FORWARD(f4_2x2)
FORWARD(f3_1x4)
BACKWARD_INPUT(f2)
BACKWARD_INPUT(f4)
BACKWARD_INPUT(f2_5x5)
BACKWARD_INPUT(f3_1x4)
