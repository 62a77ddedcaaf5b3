/* Which sources each result of a pooling gathers, one axis at a time.
 *
 * Forward, results are output positions and sources are input positions; backward it is the other way round. */
#ifndef FL_POOL_PLAN_H
#define FL_POOL_PLAN_H

#include "fl_types.h"

/* One axis of an fl_window. */
typedef struct {
    ptrdiff_t input, output, taps, stride, dilation, before, after;
} fl_pool_side;

/* Which taps an average's divisor counts: none (no average), those inside the input, those inside the padded input. */
enum fl_pool_divisor { FL_COUNT_NOTHING, FL_COUNT_INSIDE, FL_COUNT_PADDING };

/* A result's sources: first, first + source_step, ..., by the taps tap, tap + tap_step, ... */
typedef struct {
    ptrdiff_t first, count, tap;
    fl_real divisor; /* of the windows involved, 0 where they differ */
} fl_pool_span;

typedef struct {
    ptrdiff_t sources, results, source_step, tap_step;
    /* Borders apart, result r + period gathers like r, from sources `advance` further on, by taps `tap_advance` later. */
    ptrdiff_t period, advance, tap_advance;
    fl_pool_span *spans;       /* [result] */
    fl_real *window_divisors;  /* [output] */
} fl_pool_axis;

/* Results start, start + period, ... that gather like the first. */
typedef struct {
    ptrdiff_t start, pixels;
    fl_pool_span span;
} fl_pool_strip;

typedef struct {
    ptrdiff_t count;
    fl_pool_strip *strips;
} fl_pool_strips;

/* FL_OK or FL_ENOMEM; in either case the axis may be freed. */
int FL(pool_axis)(fl_pool_axis *axis, const fl_pool_side *side, int backward, enum fl_pool_divisor divisor);
void FL(pool_axis_free)(fl_pool_axis *axis);

/* The results from `from` on, in strips of at most `longest`.  FL_OK or FL_ENOMEM; strips->strips is to be freed. */
int FL(pool_strips)(fl_pool_strips *strips, const fl_pool_axis *axis, ptrdiff_t from, ptrdiff_t longest);

#endif
