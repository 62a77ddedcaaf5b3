/* The table of dense algorithms, and the choice among them. */
#include "conv_algorithms.h"
#include "dense_algorithms.h"

typedef struct {
    const char *name;
    int (*pays)(const fl_dense *, enum fl_dense_pass); /* is the quickest */
    fl_dense_forward *forward;
    fl_dense_backward_input *backward_input;
    fl_dense_backward_weight *backward_weight;
} algorithm;

/* ---- direct: to the drivers of convolution, N pixels in a row under a 1x1 kernel ---- */

static fl_conv pixels(const fl_dense *d) {
    return (fl_conv){.window = {.h = 1, .w = d->rows, .oh = 1, .ow = d->rows, .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1},
                     .batch = 1, .channels = d->inputs, .filters = d->units, .groups = 1, .isa = d->isa, .threads = d->threads};
}
static int direct_forward(const fl_dense *d, const void *x, const void *kernel, const void *bias, void *y, int activation,
                          double alpha) {
    const fl_conv conv = pixels(d);
    return FL(direct_forward)(&conv, x, kernel, bias, y, activation, alpha);
}
static int direct_backward_input(const fl_dense *d, const void *dy, const void *kernel, void *dx) {
    const fl_conv conv = pixels(d);
    return FL(direct_backward_input)(&conv, dy, kernel, dx);
}
static int direct_backward_weight(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    const fl_conv conv = pixels(d);
    return FL(direct_backward_weight)(&conv, x, dy, dkernel, dbias);
}

/* ---- the table ---- */

enum {
    FEW = 256,         /* rows: with more, packing the weights pays */
    FEW_DOTS = 512,    /* rows: with more, transposing the weights pays */
    FEW_SUMMED = 1024, /* rows: with more, splitting the sum over them is what can be shared out */
    NARROW = 32,       /* units: tiles and dots of fewer are mostly overhead */
    NARROW_DOTS = 128, /* the same where many rows share the transposition */
    MANY = 32,
};

static int narrow(const fl_dense *d, enum fl_dense_pass pass) {
    if (pass == FL_DENSE_FORWARD || d->rows == 1 || d->rows > FEW_SUMMED || 2 * d->units > d->inputs) return 0;
    return d->units <= (pass == FL_DENSE_BACKWARD_INPUT && d->rows >= MANY ? NARROW_DOTS : NARROW);
}

static int few_rows(const fl_dense *d, enum fl_dense_pass pass) {
    static const ptrdiff_t few[] = {
        [FL_DENSE_FORWARD] = FEW, [FL_DENSE_BACKWARD_INPUT] = FEW_DOTS, [FL_DENSE_BACKWARD_WEIGHT] = FEW_SUMMED};
    return d->rows <= few[pass];
}
static int always(const fl_dense *d, enum fl_dense_pass pass) { return (void)d, (void)pass, 1; }

/* The first row that pays for a problem is taken. */
static const algorithm algorithms[] = {
    {"narrow", narrow, FL(skinny_forward), FL(narrow_backward_input), FL(narrow_backward_weight)},
    {"skinny", few_rows, FL(skinny_forward), FL(skinny_backward_input), FL(skinny_backward_weight)},
    {"direct", always, direct_forward, direct_backward_input, direct_backward_weight},
};

static const algorithm *choose(const fl_dense *d, enum fl_dense_pass pass) {
    const algorithm *a = algorithms;
    while (!a->pays(d, pass)) a++;
    return a;
}

static const char *name(const fl_dense *d, enum fl_dense_pass pass) { return choose(d, pass)->name; }
static int forward(const fl_dense *d, const void *x, const void *kernel, const void *bias, void *y, int activation,
                   double alpha) {
    return choose(d, FL_DENSE_FORWARD)->forward(d, x, kernel, bias, y, activation, alpha);
}
static int backward_input(const fl_dense *d, const void *dy, const void *kernel, void *dx) {
    return choose(d, FL_DENSE_BACKWARD_INPUT)->backward_input(d, dy, kernel, dx);
}
static int backward_weight(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    return choose(d, FL_DENSE_BACKWARD_WEIGHT)->backward_weight(d, x, dy, dkernel, dbias);
}

const fl_dense_driver FL(dense_driver) = {
    .forward = forward, .backward_input = backward_input, .backward_weight = backward_weight, .algorithm = name};
