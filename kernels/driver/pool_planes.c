/* Pooling over images of few channels: those of several images are taken for the channels of one.  The rows that a band
 * of results needs are transposed into scratch, pooled there, and the results transposed back. */
#include <stdint.h>

#include "buffers.h"
#include "parallel.h"
#include "pool_gather.h"

enum {
    IMAGES = 16,             /* at a time: whole vectors of any instruction set, whole tiles of the transposition */
    BAND_BYTES = 256 << 10,  /* of scratch, so that it stays in L2, unless a single unit of results needs more... */
    LARGEST_BAND = 16 << 20, /* ...but not more than this: then images are pooled as they stand */
};

/* Tasks are block of images x band of units. */
typedef struct {
    const fl_pool_gathering *g;
    fl_pool_units units;
    ptrdiff_t band, bands;                      /* units of a band, and how many bands */
    ptrdiff_t source_elements, result_elements; /* of scratch */
    ptrdiff_t scratch_bytes;                    /* of a thread */
    char *scratch;
} banding;

/* Rows of sources, from *first on, that the rows begin..end-1 of results gather. */
static ptrdiff_t source_rows(const fl_pool_axis *axis, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t *first) {
    ptrdiff_t from = axis->sources, to = 0;
    for (ptrdiff_t r = begin; r < end; r++) {
        const fl_pool_span *span = &axis->spans[r];
        if (!span->count) continue;
        from = FL_MIN(from, span->first);
        to = FL_MAX(to, span->first + (span->count - 1) * axis->source_step + 1);
    }
    *first = FL_MIN(from, to);
    return to - *first;
}

static ptrdiff_t row_of(const banding *b, ptrdiff_t unit) {
    return FL(pool_unit_row)(&b->units, b->g, FL_MIN(unit, b->units.count));
}

/* Set the scratch that bands of `band` units take. */
static void measure(banding *b, ptrdiff_t band) {
    const fl_pool_gathering *g = b->g;
    ptrdiff_t sources = 0, results = 0, first;
    for (ptrdiff_t unit = 0; unit < b->units.count; unit += band) {
        const ptrdiff_t begin = row_of(b, unit), end = row_of(b, unit + band);
        sources = FL_MAX(sources, source_rows(&g->y, begin, end, &first));
        results = FL_MAX(results, end - begin);
    }
    b->band = band;
    b->bands = fl_ceil_div(b->units.count, band);
    b->source_elements = sources * g->x.sources * g->channels * IMAGES;
    b->result_elements = results * g->x.results * g->channels * IMAGES;
    const ptrdiff_t argmax_elements = g->argmax_of_sources ? b->source_elements : b->result_elements;
    b->scratch_bytes = (b->source_elements + b->result_elements) * (ptrdiff_t)sizeof(fl_real) + argmax_elements * g->argmax_bytes;
    b->scratch_bytes = fl_ceil_div(b->scratch_bytes, 64) * 64;
}

static int cut_into_bands(banding *b) {
    if (FL(pool_units)(&b->units, b->g, 1, PTRDIFF_MAX)) return FL_ENOMEM;
    for (ptrdiff_t band = b->units.count; measure(b, band), b->scratch_bytes > BAND_BYTES && band > 1;)
        band = fl_ceil_div(band, 2);
    return FL_OK;
}

static void transpose_argmax(const fl_pool_gathering *g, ptrdiff_t rows, ptrdiff_t cols, const char *x, ptrdiff_t x_stride,
                             char *y, ptrdiff_t y_stride) {
    if (g->argmax_bytes == 1)
        g->layout->transpose_u8(rows, cols, (const uint8_t *)x, x_stride, (uint8_t *)y, y_stride);
    else
        g->layout->transpose_i32(rows, cols, (const int32_t *)x, x_stride, (int32_t *)y, y_stride);
}

static void pool_band(const banding *b, ptrdiff_t image, ptrdiff_t unit, char *scratch) {
    const fl_pool_gathering *g = b->g;
    const ptrdiff_t images = FL_MIN(IMAGES, g->images - image), unit_end = FL_MIN(unit + b->band, b->units.count);
    const ptrdiff_t source_row = g->x.sources * g->channels, source_image = g->y.sources * source_row;
    const ptrdiff_t result_row = g->x.results * g->channels, result_image = g->y.results * result_row;
    const ptrdiff_t begin = row_of(b, unit), results = (row_of(b, unit_end) - begin) * result_row;
    ptrdiff_t first;
    const ptrdiff_t sources = source_rows(&g->y, begin, row_of(b, unit_end), &first) * source_row;
    const ptrdiff_t from = image * source_image + first * source_row, to = image * result_image + begin * result_row;

    fl_real *source = (fl_real *)scratch, *result = source + b->source_elements;
    char *argmax = g->argmax ? (char *)(result + b->result_elements) : NULL;
    g->layout->transpose(images, sources, g->source + from, source_image, source, images);
    if (argmax && g->argmax_of_sources)
        transpose_argmax(g, images, sources, g->argmax + from * g->argmax_bytes, source_image, argmax, images);
    const fl_pool_view view = {.source = source, .result = result, .argmax = argmax, .first_source = first,
                               .first_result = begin, .pitch = g->channels * images, .channels = g->channels * images};
    for (; unit < unit_end; unit++) FL(pool_unit)(&b->units, g, &view, unit, 0, b->units.strips.count);
    g->layout->transpose(results, images, result, images, g->result + to, result_image);
    if (argmax && !g->argmax_of_sources)
        transpose_argmax(g, results, images, argmax, images, g->argmax + to * g->argmax_bytes, result_image);
}

static void do_tasks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const banding *b = job;
    for (ptrdiff_t task = begin; task < end; task++)
        pool_band(b, task / b->bands * IMAGES, task % b->bands * b->band, b->scratch + thread * b->scratch_bytes);
}

static int pool_bands(banding *b) {
    const ptrdiff_t tasks = fl_ceil_div(b->g->images, IMAGES) * b->bands;
    const int team = fl_team(b->g->threads, tasks, b->g->work);
    const size_t bytes = (size_t)(team * b->scratch_bytes);
    b->scratch = fl_buffer_get(bytes);
    if (!b->scratch) return FL_ENOMEM;
    fl_parallel(team, tasks, do_tasks, b);
    fl_buffer_put(b->scratch, bytes);
    return FL_OK;
}

int FL(pool_planes)(const fl_pool_gathering *g) {
    banding b = {.g = g};
    int status = cut_into_bands(&b);
    if (status == FL_OK) status = b.scratch_bytes > LARGEST_BAND ? FL(pool_images)(g) : pool_bands(&b);
    FL(pool_units_free)(&b.units);
    return status;
}
