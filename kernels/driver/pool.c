/* Pooling as gathering: which sources, which micro-kernel. */
#include "pool.h"

#include "pool_gather.h"
#include "pool_global.h"

enum {
    MIN_IMAGES = 4,
    STREAM_WINDOW = 36,      /* pixels of a window that is worth a stream of its own */
    CACHED_BYTES = 16 << 20, /* of images that are taken to be in L3 */
    MAX_FEW = 28 / sizeof(fl_real), /* channels; with more, a vector per pixel is full enough */
};

static const fl_pool_ukernels *const ukernels[] = {FL_ISA_ROWS(pool)};
static const fl_layout_ukernels *const layouts[] = {FL_ISA_ROWS(layout)};

static enum fl_argmax argmax_width(const fl_window *w) { return w->kh * w->kw <= 256 ? FL_ARGMAX_U8 : FL_ARGMAX_I32; }
static ptrdiff_t argmax_bytes(const fl_window *w) { return argmax_width(w) == FL_ARGMAX_U8 ? 1 : 4; }

static int has_empty(const fl_pool_axis *axis) {
    for (ptrdiff_t r = 0; r < axis->results; r++)
        if (!axis->spans[r].count) return 1;
    return 0;
}

/* Windows side by side from the first pixel on: each input pixel is in one of them at most. */
static int is_tiling(const fl_window *w) {
    return w->kh == w->sh && w->kw == w->sw && w->dh == 1 && w->dw == 1 && w->top == 0 && w->left == 0;
}

/* Images of few channels do better side by side, when they are several; of channels_first images, every plane is one. */
static int dispatch(fl_pool_gathering *g, int channels_first) {
    if (channels_first) {
        g->images *= g->channels;
        g->channels = 1;
    }
    return g->images >= MIN_IMAGES && g->channels <= MAX_FEW ? FL(pool_planes)(g) : FL(pool_images)(g);
}

static int run(fl_pool_gathering *g, const fl_pool *pool, int backward, enum fl_pool_divisor divisor) {
    const fl_window *w = &pool->window;
    const fl_pool_side y = {w->h, w->oh, w->kh, w->sh, w->dh, w->top, w->bottom};
    const fl_pool_side x = {w->w, w->ow, w->kw, w->sw, w->dw, w->left, w->right};
    if (pool->batch * pool->channels == 0) return FL_OK;
    g->images = pool->batch;
    g->channels = pool->channels;
    g->window_rows = w->kh;
    g->window_cols = w->kw;
    g->argmax_bytes = argmax_bytes(w);
    g->layout = layouts[pool->isa];
    g->threads = pool->threads;
    g->work = (double)pool->batch * (double)pool->channels *
              (4 * sizeof(fl_real) * ((double)w->h * (double)w->w + (double)w->oh * (double)w->ow) +
               (double)w->oh * (double)w->ow * (double)w->kh * (double)w->kw);
    if (!is_tiling(w)) g->spread = NULL;
    int status = FL(pool_axis)(&g->y, &y, backward, divisor);
    if (status == FL_OK) status = FL(pool_axis)(&g->x, &x, backward, divisor);
    if (status == FL_OK && !backward && divisor != FL_COUNT_PADDING && (has_empty(&g->y) || has_empty(&g->x)))
        status = FL_POOL_EMPTY_WINDOW;
    if (status == FL_OK) status = dispatch(g, pool->channels_first);
    FL(pool_axis_free)(&g->y);
    FL(pool_axis_free)(&g->x);
    return status;
}

/* Of channels_first images a window over the whole image is one run of memory. */
static int is_run(const fl_pool *pool) { return pool->channels_first && FL(pool_is_global)(&pool->window); }

static int max(const fl_pool *pool, const void *x, void *y, void *argmax) {
    if (is_run(pool)) return FL(pool_global_max)(pool, x, y, argmax), FL_OK;
    const enum fl_argmax width = argmax ? argmax_width(&pool->window) : FL_NO_ARGMAX;
    fl_pool_gathering g = {.source = x, .result = y, .argmax = argmax, .gather = ukernels[pool->isa]->max[width]};
    return run(&g, pool, 0, FL_COUNT_NOTHING);
}

static int max_backward(const fl_pool *pool, const void *dy, const void *argmax, void *dx) {
    if (FL(pool_is_global)(&pool->window)) return FL(pool_global_max_backward)(pool, dy, argmax, dx), FL_OK;
    const enum fl_argmax width = argmax_width(&pool->window);
    fl_pool_gathering g = {.source = dy, .result = dx, .argmax = (char *)argmax, .argmax_of_sources = 1,
                           .gather = ukernels[pool->isa]->max_backward[width],
                           .spread = width == FL_ARGMAX_U8 ? ukernels[pool->isa]->max_spread : NULL};
    return run(&g, pool, 1, FL_COUNT_NOTHING);
}

static enum fl_pool_divisor counted(int count_include_pad) { return count_include_pad ? FL_COUNT_PADDING : FL_COUNT_INSIDE; }

/* Whether to read large windows from end to end: their images are in memory, and prefetchers in hardware follow. */
static int is_stream(const fl_pool *pool) {
    const fl_window *w = &pool->window;
    const double bytes = (double)pool->batch * (double)(w->h * w->w) * (double)pool->channels * sizeof(fl_real);
    return w->kh * w->kw >= STREAM_WINDOW && bytes > CACHED_BYTES;
}

static int average(const fl_pool *pool, const void *x, void *y, int count_include_pad) {
    if (is_run(pool)) return FL(pool_global_average)(pool, x, y), FL_OK;
    const fl_pool_ukernels *uk = ukernels[pool->isa];
    fl_pool_gathering g = {.source = x, .result = y, .gather = is_stream(pool) ? uk->average_stream : uk->average};
    return run(&g, pool, 0, counted(count_include_pad));
}

static int average_backward(const fl_pool *pool, const void *dy, void *dx, int count_include_pad) {
    if (is_run(pool)) return FL(pool_global_average_backward)(pool, dy, dx), FL_OK;
    const fl_pool_ukernels *uk = ukernels[pool->isa];
    fl_pool_gathering g = {.source = dy, .result = dx, .gather = uk->average, .gather_uneven = uk->average_uneven,
                           .spread = uk->average_spread};
    return run(&g, pool, 1, counted(count_include_pad));
}

const fl_pool_driver FL(pool_driver) = {
    .max = max, .max_backward = max_backward, .average = average, .average_backward = average_backward};
