/* The table of dense algorithms, and the choice among them. */
#include <stddef.h>

#include "conv_algorithms.h"
#include "dense_algorithms.h"
#include "skinny_ukernels.h"

typedef struct {
    const char *name;
    int (*pays)(const fl_dense *, enum fl_dense_pass); /* is the quickest */
    fl_dense_forward *forward;                         /* NULL, as the others, where it has no such pass */
    fl_dense_backward_input *backward_input;
    fl_dense_backward_weight *backward_weight;
} algorithm;

/* ---- direct: to the driver of convolution, N pixels in a row under a 1x1 kernel ---- */

static int direct_backward_weight(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    const fl_window window = {.h = 1, .w = d->rows, .oh = 1, .ow = d->rows, .kh = 1, .kw = 1, .sh = 1, .sw = 1,
                              .dh = 1, .dw = 1};
    const fl_conv conv = {.window = window, .batch = 1, .channels = d->inputs, .filters = d->units, .groups = 1,
                          .isa = d->isa, .threads = d->threads};
    return FL(direct_backward_weight)(&conv, x, dy, dkernel, dbias);
}

/* ---- the table ---- */

enum {
    FEW = 64,              /* rows: for more, packing the weights pays */
    FEW_NARROW = 32,       /* the same in narrow layers */
    FEW_DOTS = 96,         /* the same where the weights would have to be transposed, */
    LONG_DOTS = 5,         /* if there are so many units for every row */
    MANY_SUMMED = 1024,    /* rows: splitting the sum over more of them pays where */
    FEW_WEIGHTS = 1 << 9,  /* these are hardly more than a tile */
    NARROW = 24,           /* units: vectors along fewer are mostly empty */
};

static int streams_weights(const fl_dense *d, enum fl_dense_pass pass) {
    if (pass == FL_DENSE_FORWARD) return d->rows <= (d->units <= NARROW ? FEW_NARROW : FEW);
    if (pass == FL_DENSE_BACKWARD_WEIGHT) return 0 < d->rows && d->rows <= FL_SKINNY_OUTER && d->units > NARROW;
    return d->rows == 1 || (d->rows <= FEW_DOTS && LONG_DOTS * d->rows <= d->units);
}
static int sums_much_into_little(const fl_dense *d, enum fl_dense_pass pass) {
    return (void)pass, d->rows > MANY_SUMMED && d->inputs * d->units <= FEW_WEIGHTS;
}
static int narrow(const fl_dense *d, enum fl_dense_pass pass) {
    const ptrdiff_t most = pass == FL_DENSE_FORWARD ? FL_NARROW_UNITS : NARROW;
    return d->rows > FEW_NARROW && d->units <= most && 2 * d->units <= d->inputs;
}
static int always(const fl_dense *d, enum fl_dense_pass pass) { return (void)d, (void)pass, 1; }

/* The first row that has a pass, and pays for a problem, is taken. */
static const algorithm algorithms[] = {
    {"skinny", streams_weights, FL(skinny_forward), FL(skinny_backward_input), FL(skinny_backward_weight)},
    {"narrow", narrow, FL(narrow_forward), NULL, FL(narrow_backward_weight)},
    {"direct", sums_much_into_little, NULL, NULL, direct_backward_weight},
    {"blocked", always, FL(blocked_forward), FL(blocked_backward_input), FL(blocked_backward_weight)},
};

static int has(const algorithm *a, enum fl_dense_pass pass) {
    switch (pass) {
    case FL_DENSE_FORWARD: return a->forward != NULL;
    case FL_DENSE_BACKWARD_INPUT: return a->backward_input != NULL;
    default: return a->backward_weight != NULL;
    }
}

static const algorithm *choose(const fl_dense *d, enum fl_dense_pass pass) {
    const algorithm *a = algorithms;
    while (!has(a, pass) || !a->pays(d, pass)) a++;
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
