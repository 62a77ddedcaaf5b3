/* Chunks of pixels of a weight gradient: see weight_chunks.h. */
#include "weight_chunks.h"

#include <string.h>

#include "blocking.h"
#include "panels.h"

/* n cut into as few parts of at most `largest` as there may be: the size of an even one. */
static ptrdiff_t even_share(ptrdiff_t n, ptrdiff_t largest) { return fl_ceil_div(n, fl_ceil_div(n, largest)); }

fl_weight_chunks FL(weight_chunks)(const fl_conv *c, const fl_real *x, ptrdiff_t pixels) {
    const fl_window *w = &c->window;
    fl_weight_chunks s = {.c = c, .x = x, .lane = FL_MAX(1, FL_MIN(c->channels / c->groups, FL_LINE / (ptrdiff_t)sizeof *x))};
    s.cols = even_share(w->ow, pixels);
    s.rows = even_share(w->oh, pixels / s.cols);
    s.images = FL_MAX(1, FL_MIN(c->batch, pixels / (w->oh * w->ow)));
    s.in_y = fl_ceil_div(w->oh, s.rows);
    s.in_x = fl_ceil_div(w->ow, s.cols);
    s.count = fl_ceil_div(c->batch, s.images) * s.in_y * s.in_x;
    s.skip_y = w->kh == 1 ? w->sh : 1;
    s.skip_x = w->kw == 1 ? w->sw : 1;
    s.step_y = w->sh / s.skip_y;
    s.step_x = w->sw / s.skip_x;
    s.x_rows = (s.rows - 1) * s.step_y + (w->kh - 1) * w->dh + 1;
    s.x_cols = (s.cols - 1) * s.step_x + (w->kw - 1) * w->dw + 1;
    return s;
}

fl_weight_chunk FL(weight_chunk)(const fl_weight_chunks *s, ptrdiff_t number) {
    const fl_window *w = &s->c->window;
    fl_weight_chunk k = {.image = number / (s->in_y * s->in_x) * s->images,
                         .row = number / s->in_x % s->in_y * s->rows,
                         .col = number % s->in_x * s->cols};
    k.images = FL_MIN(s->images, s->c->batch - k.image);
    k.rows = FL_MIN(s->rows, w->oh - k.row);
    k.cols = FL_MIN(s->cols, w->ow - k.col);
    k.first = (k.image * w->oh + k.row) * w->ow + k.col;
    k.pixels = k.images * k.rows * k.cols;
    return k;
}

/* One image row under the chunk: its pixels one after the other, as they lie in memory, each into its place of every lane's
 * column; zeros where the window hangs over the edge. */
static void pack_row(const fl_weight_chunks *s, const fl_real *from, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t count, fl_real *to) {
    const ptrdiff_t column = fl_lane_size(s), lane = s->lane, pixel_step = s->c->channels * s->skip_x;
    for (ptrdiff_t c = 0; c < count; c += lane) {
        memset(to + c / lane * column, 0, (size_t)(begin * lane) * sizeof *to);
        memset(to + c / lane * column + end * lane, 0, (size_t)((s->x_cols - end) * lane) * sizeof *to);
    }
    if (begin == end) return;
    if (count == pixel_step && count <= lane) {
        memcpy(to + begin * lane, from, (size_t)((end - begin) * count) * sizeof *to);
        return;
    }
    for (ptrdiff_t x = begin; x < end; x++, from += pixel_step) {
        fl_real *pixel = to + x * lane;
        for (ptrdiff_t c = 0; c < count; c += lane, pixel += column) fl_copy_lines(FL_MIN(lane, count - c), from + c, pixel);
    }
}

void FL(pack_weight_chunk)(const fl_weight_chunks *s, const fl_weight_chunk *k, ptrdiff_t first, ptrdiff_t count, fl_real *to) {
    const fl_window *w = &s->c->window;
    const ptrdiff_t y0 = k->row * w->sh - w->top, x0 = k->col * w->sw - w->left;
    const ptrdiff_t begin = FL_MIN(s->x_cols, fl_ceil_div(FL_MAX(0, -x0), s->skip_x));
    const ptrdiff_t end = FL_MIN(s->x_cols, fl_ceil_div(FL_MAX(0, w->w - x0), s->skip_x));
    for (ptrdiff_t row = 0; row < k->images * s->x_rows; row++, to += s->x_cols * s->lane) {
        const ptrdiff_t image = k->image + row / s->x_rows, y = y0 + row % s->x_rows * s->skip_y;
        if (y < 0 || y >= w->h || end <= begin)
            pack_row(s, NULL, s->x_cols, s->x_cols, count, to); /* zeros */
        else
            pack_row(s, s->x + ((image * w->h + y) * w->w + x0 + begin * s->skip_x) * s->c->channels + first, begin, end, count, to);
    }
}
