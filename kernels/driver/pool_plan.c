/* Which sources each result of a pooling gathers, one axis at a time: all the integer divisions of pooling. */
#include "pool_plan.h"

#include <stdlib.h>

static ptrdiff_t gcd(ptrdiff_t a, ptrdiff_t b) {
    while (b) {
        const ptrdiff_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Taps of a window starting at `start` that lie before `end`. */
static ptrdiff_t taps_before(const fl_pool_side *side, ptrdiff_t start, ptrdiff_t end) {
    return start < end ? FL_MIN(side->taps, (end - 1 - start) / side->dilation + 1) : 0;
}

/* The input positions that window `output` holds. */
static fl_pool_span inputs_of(const fl_pool_side *side, ptrdiff_t output) {
    const ptrdiff_t start = output * side->stride - side->before;
    const ptrdiff_t skipped = start < 0 ? fl_ceil_div(-start, side->dilation) : 0;
    const ptrdiff_t count = taps_before(side, start, side->input) - skipped;
    if (count <= 0) return (fl_pool_span){0};
    return (fl_pool_span){.first = start + skipped * side->dilation, .count = count, .tap = skipped};
}

/* The windows that hold position `input`: q with q * stride + tap * dilation = input + before. */
static fl_pool_span outputs_of(const fl_pool_side *side, ptrdiff_t input, ptrdiff_t source_step) {
    const ptrdiff_t end = input + side->before, reach = end - (side->taps - 1) * side->dilation;
    const ptrdiff_t last = FL_MIN(side->output - 1, end / side->stride);
    ptrdiff_t first = reach > 0 ? fl_ceil_div(reach, side->stride) : 0;
    const ptrdiff_t tried = FL_MIN(last, first + source_step - 1); /* beyond that all repeats */
    while (first <= tried && (end - first * side->stride) % side->dilation) first++;
    if (first > tried) return (fl_pool_span){0};
    return (fl_pool_span){
        .first = first, .count = (last - first) / source_step + 1, .tap = (end - first * side->stride) / side->dilation};
}

static fl_real divisor_of(const fl_pool_side *side, ptrdiff_t output, enum fl_pool_divisor divisor) {
    if (divisor == FL_COUNT_NOTHING) return 1;
    if (divisor == FL_COUNT_INSIDE) return (fl_real)inputs_of(side, output).count;
    return (fl_real)taps_before(side, output * side->stride - side->before, side->input + side->after);
}

static fl_real common_divisor(const fl_pool_axis *axis, const fl_pool_span *span) {
    if (!span->count) return 1;
    const fl_real *divisors = axis->window_divisors + span->first;
    for (ptrdiff_t i = 1; i < span->count; i++)
        if (divisors[i * axis->source_step] != divisors[0]) return 0;
    return divisors[0];
}

static fl_pool_axis forward_axis(const fl_pool_side *side) {
    return (fl_pool_axis){.sources = side->input, .results = side->output, .source_step = side->dilation, .tap_step = 1,
                          .period = 1, .advance = side->stride};
}

/* Inputs a stride apart are read alike by windows next to each other; where these are few, inputs a dilation apart are
 * read by the same windows, one tap on. */
static fl_pool_axis backward_axis(const fl_pool_side *side) {
    const ptrdiff_t common = gcd(side->stride, side->dilation);
    fl_pool_axis axis = {.sources = side->output, .results = side->input, .source_step = side->dilation / common,
                         .tap_step = -(side->stride / common), .period = side->stride, .advance = 1};
    if (side->output < side->stride) {
        axis.period = side->dilation;
        axis.advance = 0;
        axis.tap_advance = 1;
    }
    return axis;
}

int FL(pool_axis)(fl_pool_axis *axis, const fl_pool_side *side, int backward, enum fl_pool_divisor divisor) {
    *axis = backward ? backward_axis(side) : forward_axis(side);
    axis->spans = malloc((size_t)axis->results * sizeof *axis->spans);
    axis->window_divisors = malloc((size_t)side->output * sizeof *axis->window_divisors);
    if (!axis->spans || !axis->window_divisors) return FL_ENOMEM;
    for (ptrdiff_t output = 0; output < side->output; output++)
        axis->window_divisors[output] = divisor_of(side, output, divisor);
    for (ptrdiff_t result = 0; result < axis->results; result++) {
        fl_pool_span *span = &axis->spans[result];
        *span = backward ? outputs_of(side, result, axis->source_step) : inputs_of(side, result);
        span->divisor = backward ? common_divisor(axis, span) : axis->window_divisors[result];
    }
    return FL_OK;
}

void FL(pool_axis_free)(fl_pool_axis *axis) {
    free(axis->spans);
    free(axis->window_divisors);
}

/* Where divisors differ within a span, each of its results has a place of its own in window_divisors. */
static int continues(const fl_pool_axis *axis, const fl_pool_span *before, const fl_pool_span *span) {
    if (!span->count) return !before->count;
    return span->count == before->count && span->first == before->first + axis->advance &&
           span->tap == before->tap + axis->tap_advance && span->divisor == before->divisor && span->divisor != 0;
}

int FL(pool_strips)(fl_pool_strips *strips, const fl_pool_axis *axis, ptrdiff_t from, ptrdiff_t longest) {
    strips->count = 0;
    strips->strips = malloc((size_t)(axis->results - from + 1) * sizeof *strips->strips);
    if (!strips->strips) return FL_ENOMEM;
    for (ptrdiff_t phase = from; phase < axis->results && phase - from < axis->period; phase++) {
        fl_pool_strip *strip = NULL;
        for (ptrdiff_t r = phase; r < axis->results; r += axis->period) {
            const fl_pool_span *span = &axis->spans[r];
            if (strip && strip->pixels < longest && continues(axis, span - axis->period, span)) {
                strip->pixels++;
                continue;
            }
            strip = &strips->strips[strips->count++];
            *strip = (fl_pool_strip){.start = r, .pixels = 1, .span = *span};
        }
    }
    return FL_OK;
}
