/* Pooling, one unit of rows at a time: what the micro-kernels are to gather. */
#include <stdlib.h>
#include <string.h>

#include "pool_gather.h"

enum { MAX_TILE = 16 }; /* results of one window written together: more would be too many streams */

static void clear(const fl_pool_view *view, fl_real *result, ptrdiff_t step, ptrdiff_t pixels) {
    for (ptrdiff_t pixel = 0; pixel < pixels; pixel++) memset(result + pixel * step, 0, (size_t)view->channels * sizeof *result);
}

/* Sources that the next row of results (or the next image) adds. */
static void fetch_ahead(const fl_pool_gathering *g, const fl_pool_view *view, fl_pool_run *run) {
    const ptrdiff_t row = g->x.sources * view->pitch;
    if (g->y.sources == 1) return; /* the results alone are far, and one after another */
    run->ahead = (run->rows - 1) * run->row_stride + row;
    run->ahead_rows = g->y.period == 1 ? g->y.advance : 1;
    run->ahead_row_stride = row;
    run->ahead_cols = FL_MAX(1, g->x.advance);
    run->ahead_col_stride = view->pitch;
    run->result_ahead = g->x.results * view->pitch;
}

static void gather_strip(const fl_pool_gathering *g, const fl_pool_view *view, ptrdiff_t row, const fl_pool_strip *strip) {
    const fl_pool_span *y = &g->y.spans[row], *x = &strip->span;
    const ptrdiff_t pitch = view->pitch;
    const ptrdiff_t to = ((row - view->first_result) * g->x.results + strip->start) * pitch;
    if (!y->count || !x->count) {
        clear(view, view->result + to, g->x.period * pitch, strip->pixels);
        return;
    }
    const ptrdiff_t from = ((y->first - view->first_source) * g->x.sources + x->first) * pitch;
    fl_pool_run run = {.pixels = strip->pixels, .channels = view->channels,
                       .source_step = g->x.advance * pitch, .result_step = g->x.period * pitch,
                       .rows = y->count, .row_stride = g->y.source_step * g->x.sources * pitch,
                       .cols = x->count, .col_stride = g->x.source_step * pitch,
                       .tap = y->tap * g->window_cols + x->tap, .row_tap = g->y.tap_step * g->window_cols,
                       .col_tap = g->x.tap_step, .pixel_tap = g->x.tap_advance,
                       .divisor = y->divisor * x->divisor,
                       .row_divisors = g->y.window_divisors + y->first, .row_divisor_step = g->y.source_step,
                       .col_divisors = g->x.window_divisors + x->first, .col_divisor_step = g->x.source_step};
    if (view->far) fetch_ahead(g, view, &run);
    if (run.source_step == run.channels && run.result_step == run.channels) { /* one pixel of many channels */
        run.channels *= run.pixels;
        run.pixels = 1;
    }
    char *argmax = view->argmax ? view->argmax + (g->argmax_of_sources ? from : to) * g->argmax_bytes : NULL;
    (run.divisor != 0 ? g->gather : g->gather_uneven)(&run, view->source + from, argmax, view->result + to);
}

static void spread_tiles(const fl_pool_units *units, const fl_pool_gathering *g, const fl_pool_view *view, ptrdiff_t tile_row) {
    const ptrdiff_t from = (tile_row - view->first_source) * g->x.sources * view->pitch;
    const ptrdiff_t to = (tile_row * g->window_rows - view->first_result) * g->x.results * view->pitch;
    const fl_pool_run run = {.pixels = units->tile_cols, .channels = view->channels, .source_step = view->pitch,
                             .result_step = g->window_cols * view->pitch,
                             .rows = g->window_rows, .row_stride = g->x.results * view->pitch,
                             .cols = g->window_cols, .col_stride = view->pitch,
                             .row_tap = g->window_cols, .col_tap = 1,
                             .divisor = (fl_real)(g->window_rows * g->window_cols)};
    g->spread(&run, view->source + from, view->argmax ? view->argmax + from * g->argmax_bytes : NULL, view->result + to);
}

int FL(pool_units)(fl_pool_units *units, const fl_pool_gathering *g, int tiled, ptrdiff_t longest) {
    *units = (fl_pool_units){.count = g->y.results};
    const ptrdiff_t tile_rows = FL_MIN(g->y.sources, g->y.results / g->window_rows);
    const ptrdiff_t tile_cols = FL_MIN(g->x.sources, g->x.results / g->window_cols);
    if (tiled && g->spread && tile_rows && tile_cols && g->window_rows * g->window_cols <= MAX_TILE) {
        units->tile_rows = tile_rows;
        units->tile_cols = tile_cols;
        units->count = tile_rows + g->y.results - tile_rows * g->window_rows;
    }
    const int status = FL(pool_strips)(&units->strips, &g->x, 0, longest);
    return status ? status : FL(pool_strips)(&units->beside, &g->x, units->tile_cols * g->window_cols, longest);
}

void FL(pool_units_free)(fl_pool_units *units) {
    free(units->strips.strips);
    free(units->beside.strips);
}

ptrdiff_t FL(pool_unit_row)(const fl_pool_units *units, const fl_pool_gathering *g, ptrdiff_t unit) {
    return unit < units->tile_rows ? unit * g->window_rows : unit + units->tile_rows * (g->window_rows - 1);
}

void FL(pool_unit)(const fl_pool_units *units, const fl_pool_gathering *g, const fl_pool_view *view, ptrdiff_t unit,
                   ptrdiff_t begin, ptrdiff_t end) {
    const ptrdiff_t row = FL(pool_unit_row)(units, g, unit);
    if (unit >= units->tile_rows) {
        for (ptrdiff_t i = begin; i < end; i++) gather_strip(g, view, row, &units->strips.strips[i]);
        return;
    }
    spread_tiles(units, g, view, unit);
    for (ptrdiff_t r = row; r < row + g->window_rows; r++)
        for (ptrdiff_t i = 0; i < units->beside.count; i++) gather_strip(g, view, r, &units->beside.strips[i]);
}
