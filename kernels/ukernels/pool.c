/* Pooling: vectors across the channels of one pixel, a grid of sources gathered in registers. */
#include "pool_lanes.h"
#include "pool_ukernels.h"

enum {
    BLOCK = 4,                  /* vectors gathered side by side */
    WIDE = FL_VECTOR_BYTES / 4, /* the same in windows of LARGE pixels or more: half the registers */
    LARGE = 36,
};

/* One pixel, `vectors` vectors of channels.  `bytes` is the size of an argmax. */
typedef void gather_block(const fl_pool_run *run, const fl_real *source, char *argmax, fl_real *result, int bytes,
                          int vectors, ptrdiff_t lanes);

FL_INLINE void max_block(const fl_pool_run *run, const fl_real *x, char *argmax, fl_real *y, int bytes, int vectors,
                         ptrdiff_t lanes) {
    vreal best[BLOCK];
    vint best_tap[BLOCK], row_tap = vsplat_int(run->tap);
    for (int v = 0; v < vectors; v++) {
        best[v] = load_lanes(x + v * VL, lanes);
        best_tap[v] = row_tap;
    }
    for (ptrdiff_t i = 0; i < run->rows; i++, x += run->row_stride, row_tap += vsplat_int(run->row_tap)) {
        vint tap = row_tap;
        for (ptrdiff_t j = 0; j < run->cols; j++, tap += vsplat_int(run->col_tap)) {
            if (i == 0 && j == 0) continue; /* `best` began as this one */
            for (int v = 0; v < vectors; v++) {
                const vreal here = load_lanes(x + j * run->col_stride + v * VL, lanes);
                const vmask better = beats(here, best[v]);
                best[v] = pick(better, here, best[v]);
                if (bytes) best_tap[v] = pick_int(better, tap, best_tap[v]);
            }
        }
    }
    for (int v = 0; v < vectors; v++) {
        store_lanes(y + v * VL, best[v], lanes);
        if (bytes) store_argmax(argmax + v * VL * bytes, best_tap[v], bytes, lanes);
    }
}

FL_INLINE void max_backward_block(const fl_pool_run *run, const fl_real *dy, char *argmax, fl_real *dx, int bytes,
                                  int vectors, ptrdiff_t lanes) {
    vreal sum[BLOCK] = {0};
    vint row_tap = vsplat_int(run->tap);
    for (ptrdiff_t i = 0; i < run->rows; i++, row_tap += vsplat_int(run->row_tap)) {
        vint tap = row_tap;
        for (ptrdiff_t j = 0; j < run->cols; j++, tap += vsplat_int(run->col_tap)) {
            const ptrdiff_t at = i * run->row_stride + j * run->col_stride;
            for (int v = 0; v < vectors; v++) {
                const vint chosen = equal_taps(load_argmax(argmax + (at + v * VL) * bytes, bytes, lanes), tap);
                sum[v] += (vreal)((vint)load_lanes(dy + at + v * VL, lanes) & chosen);
            }
        }
    }
    for (int v = 0; v < vectors; v++) store_lanes(dx + v * VL, sum[v], lanes);
}

/* Rows are summed on their own, then added: a smaller error in large windows. */
FL_INLINE void average_block(const fl_pool_run *run, const fl_real *x, char *argmax, fl_real *y, int bytes, int vectors,
                             ptrdiff_t lanes) {
    (void)argmax, (void)bytes;
    vreal sum[WIDE] = {0};
    for (ptrdiff_t i = 0; i < run->rows; i++, x += run->row_stride) {
        vreal row[WIDE];
        for (int v = 0; v < vectors; v++) row[v] = load_lanes(x + v * VL, lanes);
        for (ptrdiff_t j = 1; j < run->cols; j++)
            for (int v = 0; v < vectors; v++) row[v] += load_lanes(x + j * run->col_stride + v * VL, lanes);
        for (int v = 0; v < vectors; v++) sum[v] += row[v];
    }
    for (int v = 0; v < vectors; v++) store_lanes(y + v * VL, sum[v] / run->divisor, lanes);
}

enum { STRETCH = 128 }; /* vectors of sums that L1 holds twice */

FL_INLINE void add_pixel(const fl_real *x, ptrdiff_t vectors, ptrdiff_t last, ptrdiff_t lanes, vreal *sums) {
    for (ptrdiff_t v = 0; v < vectors - 1; v++) sums[v] += vload(x + v * VL);
    sums[vectors - 1] += load_lanes(x + last, lanes);
}

/* The same with the sums in memory, for which pixels are read from end to end. */
FL_INLINE void average_stretch(const fl_pool_run *run, const fl_real *x, fl_real *y, ptrdiff_t channels, ptrdiff_t lanes) {
    const ptrdiff_t vectors = fl_ceil_div(channels, VL), last = channels - lanes;
    vreal row[STRETCH], sum[STRETCH];
    for (ptrdiff_t v = 0; v < vectors; v++) sum[v] = vsplat(0);
    for (ptrdiff_t i = 0; i < run->rows; i++, x += run->row_stride) {
        for (ptrdiff_t v = 0; v < vectors; v++) row[v] = vsplat(0);
        for (ptrdiff_t j = 0; j < run->cols; j++) add_pixel(x + j * run->col_stride, vectors, last, lanes, row);
        for (ptrdiff_t v = 0; v < vectors; v++) sum[v] += row[v];
    }
    for (ptrdiff_t v = 0; v < vectors; v++) store_lanes(y + FL_MIN(v * VL, last), sum[v] / run->divisor, lanes);
}

FL_INLINE void average_uneven_block(const fl_pool_run *run, const fl_real *dy, char *argmax, fl_real *dx, int bytes,
                                    int vectors, ptrdiff_t lanes) {
    (void)argmax, (void)bytes;
    vreal sum[BLOCK] = {0};
    for (ptrdiff_t i = 0; i < run->rows; i++, dy += run->row_stride)
        for (ptrdiff_t j = 0; j < run->cols; j++) {
            const fl_real divisor = run->row_divisors[i * run->row_divisor_step] * run->col_divisors[j * run->col_divisor_step];
            for (int v = 0; v < vectors; v++) sum[v] += load_lanes(dy + j * run->col_stride + v * VL, lanes) / divisor;
        }
    for (int v = 0; v < vectors; v++) store_lanes(dx + v * VL, sum[v], lanes);
}

FL_INLINE void max_spread_block(const fl_pool_run *run, const fl_real *dy, char *argmax, fl_real *dx, int bytes,
                                int vectors, ptrdiff_t lanes) {
    for (int v = 0; v < vectors; v++) {
        const vreal gradient = load_lanes(dy + v * VL, lanes);
        const vint chosen = load_argmax(argmax + v * VL * bytes, bytes, lanes);
        vint tap = vsplat_int(0);
        for (ptrdiff_t i = 0; i < run->rows; i++)
            for (ptrdiff_t j = 0; j < run->cols; j++, tap += 1) {
                const vint mine = (vint)gradient & equal_taps(chosen, tap);
                store_lanes(dx + i * run->row_stride + j * run->col_stride + v * VL, (vreal)mine, lanes);
            }
    }
}

FL_INLINE void average_spread_block(const fl_pool_run *run, const fl_real *dy, char *argmax, fl_real *dx, int bytes,
                                    int vectors, ptrdiff_t lanes) {
    (void)argmax, (void)bytes;
    for (int v = 0; v < vectors; v++) {
        const vreal share = load_lanes(dy + v * VL, lanes) / run->divisor;
        for (ptrdiff_t i = 0; i < run->rows; i++)
            for (ptrdiff_t j = 0; j < run->cols; j++)
                store_lanes(dx + i * run->row_stride + j * run->col_stride + v * VL, share, lanes);
    }
}

/* Columns and rows lie too far apart for prefetchers in hardware. */
FL_INLINE void fetch(const fl_pool_run *run, const fl_real *source, const fl_real *result, int vectors) {
    for (ptrdiff_t i = 0; i < run->ahead_rows; i++)
        for (ptrdiff_t j = 0; j < run->ahead_cols; j++)
            for (int v = 0; v < vectors; v++)
                __builtin_prefetch(source + run->ahead + i * run->ahead_row_stride + j * run->ahead_col_stride + v * VL, 0, 2);
    if (run->ahead_rows)
        for (int v = 0; v < vectors; v++) __builtin_prefetch(result + run->result_ahead + v * VL, 1, 2);
}

enum side { SOURCE, RESULT }; /* where argmax stands */

/* One pixel's channels from c on, `vectors` vectors at a time; returns where they end. */
FL_INLINE ptrdiff_t walk_blocks(gather_block *block, const fl_pool_run *run, const fl_real *source, char *argmax, fl_real *result,
                                int bytes, int vectors, ptrdiff_t c) {
    for (; c + vectors * VL <= run->channels; c += vectors * VL) {
        fetch(run, source + c, result + c, vectors);
        block(run, source + c, argmax + c * bytes, result + c, bytes, vectors, VL);
    }
    return c;
}

/* All pixels and channels of a run.  The last vector of a pixel ends with its last channel, overlapping the one before. */
FL_INLINE void walk(gather_block *block, fl_pool_run run, const fl_real *source, char *argmax, fl_real *result, int bytes,
                    enum side side, int widest) {
    const ptrdiff_t channels = run.channels, argmax_step = bytes * (side == SOURCE ? run.source_step : run.result_step);
    for (ptrdiff_t pixel = 0; pixel < run.pixels; pixel++) {
        ptrdiff_t c = widest > BLOCK ? walk_blocks(block, &run, source, argmax, result, bytes, widest, 0) : 0;
        c = walk_blocks(block, &run, source, argmax, result, bytes, BLOCK, c);
        for (; c < channels; c += VL) {
            const ptrdiff_t at = FL_MIN(c, channels - VL);
            fetch(&run, source + at, result + at, 1);
            block(&run, source + at, argmax + at * bytes, result + at, bytes, 1, VL);
        }
        source += run.source_step;
        argmax += argmax_step;
        result += run.result_step;
        run.tap += run.pixel_tap;
    }
}

/* The same where a pixel has fewer channels than a vector has lanes. */
FL_INLINE void walk_narrow(gather_block *block, fl_pool_run run, const fl_real *source, char *argmax, fl_real *result,
                           int bytes, enum side side) {
    const ptrdiff_t argmax_step = bytes * (side == SOURCE ? run.source_step : run.result_step);
    for (ptrdiff_t pixel = 0; pixel < run.pixels; pixel++) {
        block(&run, source, argmax, result, bytes, 1, run.channels);
        source += run.source_step;
        argmax += argmax_step;
        result += run.result_step;
        run.tap += run.pixel_tap;
    }
}

FL_INLINE void any_grid(gather_block *block, const fl_pool_run *run, const fl_real *source, void *argmax, fl_real *result,
                        int bytes, enum side side, int widest) {
    if (run->channels < VL)
        walk_narrow(block, *run, source, argmax, result, bytes, side);
    else
        walk(block, *run, source, argmax, result, bytes, side, widest);
}

FL_INLINE void fixed_grid(gather_block *block, fl_pool_run run, ptrdiff_t rows, ptrdiff_t cols, const fl_real *source,
                          void *argmax, fl_real *result, int bytes, enum side side) {
    run.rows = rows;
    run.cols = cols;
    walk(block, run, source, argmax, result, bytes, side, BLOCK);
}

/* The grids that nearly all pooling layers have are compiled with their sizes as constants. */
FL_INLINE void common_grids(gather_block *block, const fl_pool_run *run, const fl_real *source, void *argmax,
                            fl_real *result, int bytes, enum side side) {
    if (run->channels >= VL && run->rows == 3 && run->cols == 3)
        fixed_grid(block, *run, 3, 3, source, argmax, result, bytes, side);
    else if (run->channels >= VL && run->rows == 2 && run->cols == 2)
        fixed_grid(block, *run, 2, 2, source, argmax, result, bytes, side);
    else
        any_grid(block, run, source, argmax, result, bytes, side, BLOCK);
}

/* Backward of 3 x 3 windows with strides of 2 has four grids, by odd and even rows and columns. */
FL_INLINE void backward_grids(gather_block *block, const fl_pool_run *run, const fl_real *source, void *argmax,
                              fl_real *result, int bytes, enum side side) {
    if (run->channels >= VL && run->rows == 1 && run->cols == 1)
        fixed_grid(block, *run, 1, 1, source, argmax, result, bytes, side);
    else if (run->channels >= VL && run->rows == 1 && run->cols == 2)
        fixed_grid(block, *run, 1, 2, source, argmax, result, bytes, side);
    else if (run->channels >= VL && run->rows == 2 && run->cols == 1)
        fixed_grid(block, *run, 2, 1, source, argmax, result, bytes, side);
    else
        common_grids(block, run, source, argmax, result, bytes, side);
}

static void max_value(const fl_pool_run *run, const fl_real *x, void *argmax, fl_real *y) {
    common_grids(max_block, run, x, argmax, y, 0, RESULT);
}
static void max_u8(const fl_pool_run *run, const fl_real *x, void *argmax, fl_real *y) {
    common_grids(max_block, run, x, argmax, y, 1, RESULT);
}
static void max_i32(const fl_pool_run *run, const fl_real *x, void *argmax, fl_real *y) {
    any_grid(max_block, run, x, argmax, y, 4, RESULT, BLOCK);
}
static void max_backward_u8(const fl_pool_run *run, const fl_real *dy, void *argmax, fl_real *dx) {
    backward_grids(max_backward_block, run, dy, argmax, dx, 1, SOURCE);
}
static void max_backward_i32(const fl_pool_run *run, const fl_real *dy, void *argmax, fl_real *dx) {
    any_grid(max_backward_block, run, dy, argmax, dx, 4, SOURCE, BLOCK);
}
static void average(const fl_pool_run *run, const fl_real *source, void *argmax, fl_real *result) {
    if (run->rows * run->cols < LARGE) {
        backward_grids(average_block, run, source, argmax, result, 0, RESULT);
        return;
    }
    fl_pool_run large = *run;
    large.ahead_rows = 0; /* there is time enough within the window */
    any_grid(average_block, &large, source, argmax, result, 0, RESULT, WIDE);
}
static void average_stream(const fl_pool_run *run, const fl_real *x, void *argmax, fl_real *y) {
    if (run->channels == WIDE * VL) { /* from end to end as it is */
        average(run, x, argmax, y);
        return;
    }
    for (ptrdiff_t pixel = 0; pixel < run->pixels; pixel++, x += run->source_step, y += run->result_step)
        for (ptrdiff_t c = 0, channels; c < run->channels; c += channels) {
            channels = FL_MIN(STRETCH * VL, run->channels - c);
            average_stretch(run, x + c, y + c, channels, FL_MIN(VL, channels));
        }
}
static void average_uneven(const fl_pool_run *run, const fl_real *dy, void *argmax, fl_real *dx) {
    any_grid(average_uneven_block, run, dy, argmax, dx, 0, SOURCE, BLOCK);
}
static void max_spread(const fl_pool_run *run, const fl_real *dy, void *argmax, fl_real *dx) {
    common_grids(max_spread_block, run, dy, argmax, dx, 1, SOURCE);
}
static void average_spread(const fl_pool_run *run, const fl_real *dy, void *argmax, fl_real *dx) {
    common_grids(average_spread_block, run, dy, argmax, dx, 0, SOURCE);
}

const fl_pool_ukernels FL_UK(pool) = {
    .max = {max_value, max_u8, max_i32},
    .max_backward = {NULL, max_backward_u8, max_backward_i32},
    .average = average,
    .average_stream = average_stream,
    .average_uneven = average_uneven,
    .max_spread = max_spread,
    .average_spread = average_spread,
};
