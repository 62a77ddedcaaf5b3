/* 1x1 convolution without padding: a dense layer whose rows are the pixels. */
#include <string.h>

#include "buffers.h"
#include "conv_algorithms.h"
#include "dense.h"
#include "parallel.h"

static fl_dense pixels(const fl_conv *c) {
    return (fl_dense){.rows = c->batch * c->window.oh * c->window.ow, .inputs = c->channels, .units = c->filters,
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

/* ---- with a stride: the weight gradient, from a copy of the pixels that take part ---- */

typedef struct {
    const fl_conv *c;
    const fl_real *x;
    fl_real *copy;
} selection;

/* Rows [begin, end) of the outputs of all images: the pixels that they see. */
static void select_rows(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const selection *s = job;
    const fl_window *w = &s->c->window;
    const ptrdiff_t channels = s->c->channels;
    fl_real *to = s->copy + begin * w->ow * channels;
    for (ptrdiff_t row = begin; row < end; row++) {
        const fl_real *from = s->x + (row / w->oh * w->h + row % w->oh * w->sh) * w->w * channels;
        for (ptrdiff_t i = 0; i < w->ow; i++, to += channels, from += w->sw * channels) memcpy(to, from, (size_t)channels * sizeof *to);
    }
}

int FL(pointwise_strided_backward_weight)(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    const fl_dense d = pixels(c);
    const ptrdiff_t rows = c->batch * c->window.oh;
    const size_t bytes = (size_t)(d.rows * d.inputs) * sizeof(fl_real);
    selection s = {c, x, fl_buffer_get(bytes)};
    if (!s.copy) return fl_probing() ? FL(dense_driver).backward_weight(&d, x, dy, dkernel, dbias) : FL_ENOMEM;
    fl_parallel(fl_team(c->threads, rows, 8.0 * (double)bytes), rows, select_rows, &s);
    const int status = FL(dense_driver).backward_weight(&d, s.copy, dy, dkernel, dbias);
    fl_buffer_put(s.copy, bytes);
    return status;
}
