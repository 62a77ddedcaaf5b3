/* 1x1 convolution without stride or padding: a dense layer whose rows are the pixels. */
#include "conv_algorithms.h"
#include "dense.h"

static fl_dense pixels(const fl_conv *c) {
    return (fl_dense){.rows = c->batch * c->window.h * c->window.w, .inputs = c->channels, .units = c->filters,
                      .isa = c->isa, .threads = c->threads};
}

int FL(pointwise_forward)(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y, int activation,
                          double alpha) {
    const fl_dense d = pixels(c);
    return FL(dense_driver).forward(&d, x, kernel, bias, y, activation, alpha);
}
int FL(pointwise_backward_input)(const fl_conv *c, const void *dy, const void *kernel, void *dx) {
    const fl_dense d = pixels(c);
    return FL(dense_driver).backward_input(&d, dy, kernel, dx);
}
int FL(pointwise_backward_weight)(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    const fl_dense d = pixels(c);
    return FL(dense_driver).backward_weight(&d, x, dy, dkernel, dbias);
}
