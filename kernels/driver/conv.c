/* The table of convolution algorithms, and the choice among them. */
#include "conv.h"

#include "blocking.h"
#include "conv_algorithms.h"
#include "gemm_ukernels.h"
#include "layout.h"
#include "winograd_tiles.h"
#include "winograd_ukernels.h"

typedef struct {
    const char *name;
    int (*accepts)(const fl_conv *);                        /* can compute this problem */
    int (*pays)(const fl_conv *, enum fl_conv_pass, int precise); /* is the quickest of those that do */
    fl_conv_forward *forward;
    fl_conv_backward_input *backward_input;
    fl_conv_backward_weight *backward_weight;
} algorithm;

static int any(const fl_conv *c) { return (void)c, 1; }
static int always(const fl_conv *c, enum fl_conv_pass pass, int precise) { return (void)c, (void)pass, (void)precise, 1; }

static int one_channel_a_group(const fl_conv *c) {
    return c->groups > 1 && c->groups == c->channels && c->groups == c->filters;
}

/* Several groups, as many channels in as out, side by side in a vector; one that fills it fills the register tile too. */
static int few_channels_a_group(const fl_conv *c) {
    const ptrdiff_t k = c->channels / c->groups, largest = FL(depthwise_largest_group)(c->isa);
    return c->groups > 1 && k > 1 && k <= largest && largest % k == 0 && c->filters == c->channels;
}

static int square_taps(const fl_conv *c, ptrdiff_t taps) {
    const fl_window *w = &c->window;
    return w->kh == taps && w->kw == taps && w->sh == 1 && w->sw == 1;
}
static int three_by_three(const fl_conv *c) { return square_taps(c, 3); }
static int five_by_five(const fl_conv *c) { return square_taps(c, 5); }

/* 3x3 or 4x4 taps, every other pixel: sums of 2x2 taps over each of the four phases of x. */
static int every_other_pixel(const fl_conv *c) {
    const fl_window *w = &c->window;
    return (w->kh == 3 || w->kh == 4) && (w->kw == 3 || w->kw == 4) && w->sh == 2 && w->sw == 2 && w->dh == 1 && w->dw == 1;
}

/* A row or a column of five to eight taps. */
static int line_of_taps(const fl_conv *c) {
    const fl_window *w = &c->window;
    return FL_MIN(w->kh, w->kw) == 1 && w->kh + w->kw >= 6 && w->kh + w->kw <= 9 && w->sh == 1 && w->sw == 1;
}

static int one_by_one(const fl_conv *c) {
    const fl_window *w = &c->window;
    return w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && w->oh == w->h && w->ow == w->w && w->top == 0 && w->left == 0 &&
           c->groups == 1;
}

static int one_by_one_strided(const fl_conv *c) {
    const fl_window *w = &c->window;
    return w->kh == 1 && w->kw == 1 && (w->sh > 1 || w->sw > 1) && (w->oh - 1) * w->sh < w->h && (w->ow - 1) * w->sw < w->w &&
           w->top == 0 && w->left == 0 && c->groups == 1;
}
/* A copy of the pixels that take part, for products that ask ahead for what they read; it must stay small. */
static int copy_pays(const fl_conv *c, enum fl_conv_pass pass, int precise) {
    const ptrdiff_t bytes = c->batch * c->window.oh * c->window.ow * c->channels * (ptrdiff_t)sizeof(fl_real);
    return (void)precise, pass == FL_CONV_BACKWARD_WEIGHT && FL_MIN(c->channels, c->filters) >= 64 && bytes <= 8 << 20;
}

/* Fewer channels of x than would fill a vector, and the taps of a kernel row side by side. */
static int few_channels(const fl_conv *c) { return c->groups == 1 && c->channels < FL_MERGE_BELOW && c->window.dw == 1; }
static int scatter_pays(const fl_conv *c, enum fl_conv_pass pass, int precise) {
    return (void)precise, pass == FL_CONV_BACKWARD_INPUT && c->window.kw > 1;
}

/* Channels must be many enough to pay for the transforms of x and y, of a group more than of all, whose pixels lie side by side;
 * double precision stays direct. */
static int transforms_pay(const fl_conv *c, enum fl_conv_pass pass) {
    const ptrdiff_t fewest = c->groups == 1 || pass == FL_CONV_BACKWARD_WEIGHT ? 16 : 32;
    return sizeof(fl_real) == 4 && FL_MIN(c->channels, c->filters) / c->groups >= fewest;
}

static ptrdiff_t rows(const fl_window *w, enum fl_conv_pass pass) { return pass == FL_CONV_BACKWARD_INPUT ? w->h : w->oh; }
static ptrdiff_t columns(const fl_window *w, enum fl_conv_pass pass) { return pass == FL_CONV_BACKWARD_INPUT ? w->w : w->ow; }

static fl_tiling tiling(const fl_conv *c, enum fl_conv_pass pass, const fl_winograd_form *form) {
    return fl_tiling_of(form, &c->window, rows(&c->window, pass), columns(&c->window, pass));
}
static ptrdiff_t tiles(const fl_conv *c, const fl_tiling *t) { return c->batch * t->along_y * t->along_x; }

static const fl_winograd_ukernels *const winograd_ukernels[] = {FL_ISA_ROWS(winograd)};
static const fl_gemm_ukernels *const ukernels[] = {FL_ISA_ROWS(gemm)};

/* Products for each pair of a channel and a filter. */
static ptrdiff_t products(const fl_conv *c, const fl_tiling *t) { return tiles(c, t) * fl_tiling_products(t); }
static ptrdiff_t direct_products(const fl_conv *c, enum fl_conv_pass pass) {
    const fl_window *w = &c->window;
    return c->batch * rows(w, pass) * columns(w, pass) * w->kh * w->kw;
}

/* Tiles must be many enough to pay for the transform of the weights, and their products many fewer than those of direct sums:
 * a dilation may leave little of an image to each of its d x d parts. */
static int winograd_pays(const fl_conv *c, enum fl_conv_pass pass, const fl_winograd_form *form, ptrdiff_t fewest) {
    const fl_tiling t = tiling(c, pass, form);
    return transforms_pay(c, pass) && tiles(c, &t) >= fewest && 3 * products(c, &t) <= 2 * direct_products(c, pass);
}

/* dW wants more tiles, whose sums are transformed.  Where F2 fits the image so much better that it has no more products, it is
 * quicker. */
static int f4_pays(const fl_conv *c, enum fl_conv_pass pass, int precise) {
    const fl_winograd_ukernels *uk = winograd_ukernels[c->isa];
    const fl_tiling f4 = tiling(c, pass, &uk->f4), f2 = tiling(c, pass, &uk->f2);
    const ptrdiff_t fewest = pass != FL_CONV_BACKWARD_WEIGHT ? 4 : c->groups == 1 ? 24 : 48;
    return !precise && winograd_pays(c, pass, &uk->f4, fewest) && products(c, &f4) < products(c, &f2);
}
static int f2_pays(const fl_conv *c, enum fl_conv_pass pass, int precise) {
    const int gathers_runs = pass != FL_CONV_BACKWARD_WEIGHT && c->channels <= 16 && c->filters <= 16; /* direct sums are quicker */
    return (void)precise, !gathers_runs && winograd_pays(c, pass, &winograd_ukernels[c->isa]->f2, 16);
}
static int f2_5x5_pays(const fl_conv *c, enum fl_conv_pass pass, int precise) { /* as exact as f4 */
    return !precise && winograd_pays(c, pass, &winograd_ukernels[c->isa]->f2_5x5, 24);
}

/* Sums of parts: their dW transforms x once for each, for which few channels don't pay. */
static int parts_pay(const fl_conv *c, enum fl_conv_pass pass, const fl_winograd_form *form) {
    const int weight = pass == FL_CONV_BACKWARD_WEIGHT;
    return !(weight && FL_MIN(c->channels, c->filters) / c->groups < 24) && winograd_pays(c, pass, form, weight ? 32 : 24);
}
/* Four phases of x to transform.  Where vectors have 32 bytes, as with AVX2, dW's products wait for V and Z: no gain. */
static int f4_2x2_pays(const fl_conv *c, enum fl_conv_pass pass, int precise) {
    const int waits = pass == FL_CONV_BACKWARD_WEIGHT && ukernels[c->isa]->nr_narrow * (ptrdiff_t)sizeof(fl_real) == 32;
    return !precise && !waits && pass != FL_CONV_BACKWARD_INPUT && c->channels / c->groups >= 32 &&
           parts_pay(c, pass, &winograd_ukernels[c->isa]->f4_2x2);
}
static int f3_1x4_pays(const fl_conv *c, enum fl_conv_pass pass, int precise) {
    return !precise && parts_pay(c, pass, &winograd_ukernels[c->isa]->f3_1x4);
}

static int one_group(const fl_conv *c) { return c->groups == 1; }

/* Many weights for few pixels: those are packed without an extra pass over memory, and pixels that a stride sets so far apart that
 * they share a set of L1 are copied.  With more pixels the sums that pass through memory cost what that saves. */
static int tapwise_pays(const fl_conv *c, enum fl_conv_pass pass, int precise) {
    const ptrdiff_t narrow = FL_MIN(c->channels, c->filters), pixels = c->batch * c->window.oh * c->window.ow;
    const int in_place = pass == FL_CONV_FORWARD && narrow < 256 && pixels < 16; /* so few read weights where they are */
    return (void)precise, pass != FL_CONV_BACKWARD_WEIGHT && c->window.kh * c->window.kw > 1 && narrow >= 64 && !in_place &&
           pixels <= (narrow < 256 ? 512 : 1024);
}

/* The first row that accepts a problem and pays for it is taken. */
static const algorithm algorithms[] = {
    {"depthwise", one_channel_a_group, always, FL(depthwise_forward), FL(depthwise_backward_input),
     FL(depthwise_backward_weight)},
    {"grouped", few_channels_a_group, always, FL(depthwise_forward), FL(depthwise_backward_input),
     FL(depthwise_backward_weight)},
    {"pointwise", one_by_one, always, FL(pointwise_forward), FL(pointwise_backward_input), FL(pointwise_backward_weight)},
    {"pointwise_strided", one_by_one_strided, copy_pays, FL(direct_forward), FL(direct_backward_input),
     FL(pointwise_strided_backward_weight)},
    {"winograd_f4", three_by_three, f4_pays, FL(winograd_f4_forward), FL(winograd_f4_backward_input),
     FL(winograd_f4_backward_weight)},
    {"winograd_f2", three_by_three, f2_pays, FL(winograd_f2_forward), FL(winograd_f2_backward_input),
     FL(winograd_f2_backward_weight)},
    {"winograd_f2_5x5", five_by_five, f2_5x5_pays, FL(winograd_f2_5x5_forward), FL(winograd_f2_5x5_backward_input),
     FL(winograd_f2_5x5_backward_weight)},
    {"winograd_f4_2x2", every_other_pixel, f4_2x2_pays, FL(winograd_f4_2x2_forward), FL(direct_backward_input),
     FL(winograd_f4_2x2_backward_weight)},
    {"winograd_f3_1x4", line_of_taps, f3_1x4_pays, FL(winograd_f3_1x4_forward), FL(winograd_f3_1x4_backward_input),
     FL(winograd_f3_1x4_backward_weight)},
    {"scatter", few_channels, scatter_pays, FL(direct_forward), FL(scatter_backward_input), FL(direct_backward_weight)},
    {"tapwise", one_group, tapwise_pays, FL(tapwise_forward), FL(tapwise_backward_input), FL(direct_backward_weight)},
    {"direct", any, always, FL(direct_forward), FL(direct_backward_input), FL(direct_backward_weight)},
};
enum { COUNT = sizeof algorithms / sizeof *algorithms };

static int choose(const fl_conv *c, enum fl_conv_pass pass) {
    if (c->algorithm >= 0) return c->algorithm < COUNT && algorithms[c->algorithm].accepts(c) ? c->algorithm : -1;
    int number = 0;
    while (!algorithms[number].accepts(c) || !algorithms[number].pays(c, pass, c->algorithm == FL_CONV_PRECISE)) number++;
    return number;
}

static const char *algorithm_name(int number) { return number < COUNT ? algorithms[number].name : NULL; }

static int forward(const fl_conv *c, const void *x, const void *kernel, const void *bias, void *y, int activation,
                   double alpha) {
    return algorithms[choose(c, FL_CONV_FORWARD)].forward(c, x, kernel, bias, y, activation, alpha);
}
static int backward_input(const fl_conv *c, const void *dy, const void *kernel, void *dx) {
    return algorithms[choose(c, FL_CONV_BACKWARD_INPUT)].backward_input(c, dy, kernel, dx);
}
static int backward_weight(const fl_conv *c, const void *x, const void *dy, void *dkernel, void *dbias) {
    return algorithms[choose(c, FL_CONV_BACKWARD_WEIGHT)].backward_weight(c, x, dy, dkernel, dbias);
}

static void to_channels_last(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const void *x, void *y, int isa, int threads) {
    FL(nchw_to_nhwc)(n, c, hw, x, y, isa, threads);
}
static void to_channels_first(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const void *x, void *y, int isa, int threads) {
    FL(nhwc_to_nchw)(n, c, hw, x, y, isa, threads);
}

static ptrdiff_t tile_rows(int isa) { return ukernels[isa]->mr; }
static ptrdiff_t tile_columns(int isa) { return ukernels[isa]->nr; }

const fl_conv_driver FL(conv_driver) = {.forward = forward,
                                        .backward_input = backward_input,
                                        .backward_weight = backward_weight,
                                        .choose = choose,
                                        .algorithm_name = algorithm_name,
                                        .to_channels_last = to_channels_last,
                                        .to_channels_first = to_channels_first,
                                        .tile_rows = tile_rows,
                                        .tile_columns = tile_columns};
