/* Convolution as products of gathered rows: which pixels, which taps. */
#include <stdlib.h>
#include <string.h>

#include "buffers.h"
#include "conv_algorithms.h"
#include "gather.h"

typedef int gather_algorithm(const fl_gather *);

/* The forward problem: one grid, of all output pixels. */
typedef struct {
    fl_gather g;
    fl_grid grid;
    ptrdiff_t *taps;
} forward_problem;

static int make_forward(const fl_conv *c, const void *x, const void *kernel, void *y, forward_problem *f) {
    const fl_window *w = &c->window;
    const ptrdiff_t k = c->channels / c->groups, n = c->filters / c->groups;
    f->taps = malloc((size_t)(2 * (w->kh + w->kw)) * sizeof *f->taps);
    if (!f->taps) return FL_ENOMEM;
    ptrdiff_t *tap_y = f->taps, *weight_y = tap_y + w->kh, *tap_x = weight_y + w->kh, *weight_x = tap_x + w->kw;
    for (ptrdiff_t i = 0; i < w->kh; i++) tap_y[i] = i * w->dh - w->top, weight_y[i] = i * w->kw;
    for (ptrdiff_t j = 0; j < w->kw; j++) tap_x[j] = j * w->dw - w->left, weight_x[j] = j;
    f->grid = (fl_grid){.rows = w->oh, .cols = w->ow, .y_step = w->sh, .x_step = w->sw,
                        .tap_y = tap_y, .tap_x = tap_x, .weight_y = weight_y, .weight_x = weight_x,
                        .taps_y = w->kh, .taps_x = w->kw, .out_row = w->ow * c->filters, .out_col = c->filters};
    f->g = (fl_gather){.x = x, .batch = c->batch, .h = w->h, .w = w->w, .channels = c->channels,
                       .weights = kernel, .w_tap = k * c->filters, .w_group = n, .w_k = c->filters, .w_n = 1,
                       .groups = c->groups, .k = k, .n = n, .y = y, .y_image = w->oh * w->ow * c->filters,
                       .grids = &f->grid, .grid_count = 1, .isa = c->isa, .threads = c->threads};
    return FL_OK;
}

static int forward(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y, int activation,
                   double alpha, gather_algorithm *run) {
    forward_problem f;
    if (make_forward(c, x, kernel, y, &f)) return FL_ENOMEM;
    f.g.bias = bias;
    f.g.activation = activation;
    f.g.alpha = (fl_real)alpha;
    int status = run(&f.g);
    free(f.taps);
    return status;
}

/* The taps of one axis that reach input positions = first (mod stride), nearest output first:
 * input position first + stride * r is read by tap i of output r + tap[n]. */
static ptrdiff_t taps_of_class(ptrdiff_t first, ptrdiff_t stride, ptrdiff_t dilation, ptrdiff_t pad, ptrdiff_t taps,
                               ptrdiff_t weight_step, ptrdiff_t *tap, ptrdiff_t *weight) {
    ptrdiff_t found = 0;
    for (ptrdiff_t i = taps - 1; i >= 0; i--) {
        ptrdiff_t distance = first + pad - i * dilation;
        if (distance % stride) continue;
        tap[found] = distance / stride;
        weight[found++] = i * weight_step;
    }
    return found;
}

/* A stride of s splits the input pixels into s classes an axis, each with taps of its own: no product is wasted. */
static int backward_input(const fl_conv *c, const void *dy, const void *kernel, void *dx, gather_algorithm *run) {
    const fl_window *w = &c->window;
    const ptrdiff_t k = c->filters / c->groups, n = c->channels / c->groups;
    const ptrdiff_t classes_y = FL_MIN(w->sh, w->h), classes_x = FL_MIN(w->sw, w->w);
    const ptrdiff_t tap_lists = 2 * (classes_y * w->kh + classes_x * w->kw + classes_x);
    fl_grid *grids = malloc((size_t)(classes_y * classes_x) * sizeof *grids + (size_t)tap_lists * sizeof(ptrdiff_t));
    if (!grids) return FL_ENOMEM;
    ptrdiff_t *found_x = (ptrdiff_t *)(grids + classes_y * classes_x), *lists_x = found_x + classes_x;
    ptrdiff_t *list_y = lists_x + 2 * classes_x * w->kw, grid_count = 0, taps = 0;
    for (ptrdiff_t x = 0; x < classes_x; x++) {
        ptrdiff_t *list_x = lists_x + 2 * x * w->kw;
        found_x[x] = taps_of_class(x, w->sw, w->dw, w->left, w->kw, 1, list_x, list_x + w->kw);
    }
    for (ptrdiff_t y = 0; y < classes_y; y++, list_y += 2 * w->kh) {
        ptrdiff_t found_y = taps_of_class(y, w->sh, w->dh, w->top, w->kh, w->kw, list_y, list_y + w->kh);
        for (ptrdiff_t x = 0; x < classes_x; x++) {
            ptrdiff_t *list_x = lists_x + 2 * x * w->kw;
            if (found_y * found_x[x] == 0) continue;
            grids[grid_count++] = (fl_grid){
                .rows = fl_ceil_div(w->h - y, w->sh), .cols = fl_ceil_div(w->w - x, w->sw), .y_step = 1, .x_step = 1,
                .tap_y = list_y, .weight_y = list_y + w->kh, .taps_y = found_y,
                .tap_x = list_x, .weight_x = list_x + w->kw, .taps_x = found_x[x], .first_tap = taps,
                .out_offset = (y * w->w + x) * c->channels, .out_row = w->sh * w->w * c->channels,
                .out_col = w->sw * c->channels};
            taps += found_y * found_x[x];
        }
    }
    const fl_gather gather = {
        .x = dy, .batch = c->batch, .h = w->oh, .w = w->ow, .channels = c->filters,
        .weights = kernel, .w_tap = n * c->filters, .w_group = k, .w_k = 1, .w_n = c->filters,
        .groups = c->groups, .k = k, .n = n, .y = dx, .y_image = w->h * w->w * c->channels,
        .grids = grids, .grid_count = grid_count, .isa = c->isa, .threads = c->threads};
    if (grid_count < classes_y * classes_x && !fl_probing()) /* some pixels take part in no output */
        memset(dx, 0, (size_t)(c->batch * w->h * w->w * c->channels) * sizeof(fl_real));
    int status = grid_count ? run(&gather) : FL_OK;
    free(grids);
    return status;
}

int FL(direct_forward)(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y, int activation,
                       double alpha) {
    return forward(c, x, kernel, bias, y, activation, alpha, FL(gather_gemm));
}
int FL(direct_backward_input)(const fl_conv *c, const void *dy, const void *kernel, void *dx) {
    return backward_input(c, dy, kernel, dx, FL(gather_gemm));
}

int FL(tapwise_forward)(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y, int activation,
                        double alpha) {
    return forward(c, x, kernel, bias, y, activation, alpha, FL(tapwise));
}
int FL(tapwise_backward_input)(const fl_conv *c, const void *dy, const void *kernel, void *dx) {
    return backward_input(c, dy, kernel, dx, FL(tapwise));
}

int FL(depthwise_forward)(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y, int activation,
                          double alpha) {
    return forward(c, x, kernel, bias, y, activation, alpha, FL(depthwise));
}
int FL(depthwise_backward_input)(const fl_conv *c, const void *dy, const void *kernel, void *dx) {
    return backward_input(c, dy, kernel, dx, FL(depthwise));
}
int FL(depthwise_backward_weight)(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    forward_problem f;
    if (make_forward(c, x, NULL, (void *)dy, &f)) return FL_ENOMEM;
    int status = FL(depthwise_sums)(&f.g, dkernel, dbias);
    free(f.taps);
    return status;
}
