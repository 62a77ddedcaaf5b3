/* The chunks of output pixels over which the weight gradient of a convolution is summed, and the copy of x under each.
 *
 * A chunk is part of a row, some rows, or several whole images: its rows of dy are one contiguous matrix (pixel, filter). */
#ifndef FL_WEIGHT_CHUNKS_H
#define FL_WEIGHT_CHUNKS_H

#include "blocking.h"
#include "conv.h"
#include "fl_types.h"

typedef struct {
    const fl_conv *c;
    const fl_real *x;
    ptrdiff_t images, rows, cols; /* output pixels of a whole chunk */
    ptrdiff_t in_y, in_x, count;  /* chunks of an image, and of all */
    ptrdiff_t lane;               /* channels side by side in packed x */
    ptrdiff_t skip_y, skip_x;     /* of x, pixels from one that is packed to the next: those under no tap are left out */
    ptrdiff_t step_y, step_x;     /* of packed x, pixels from one output pixel to the next */
    ptrdiff_t x_rows, x_cols;     /* packed pixels of each image under a whole chunk, padding included */
} fl_weight_chunks;

typedef struct {
    ptrdiff_t image, images, row, rows, col, cols; /* output pixels */
    ptrdiff_t first, pixels;                       /* the same, as rows of dy */
} fl_weight_chunk;

fl_weight_chunks FL(weight_chunks)(const fl_conv *c, const fl_real *x, ptrdiff_t pixels);
fl_weight_chunk FL(weight_chunk)(const fl_weight_chunks *s, ptrdiff_t number);

/* Elements of packed x from one lane of channels to the next: an odd number of lines, since lanes that lie a power of two
 * apart would share one set of L1. */
static inline ptrdiff_t fl_lane_size(const fl_weight_chunks *s) {
    const ptrdiff_t line = FL_LINE / (ptrdiff_t)sizeof(fl_real);
    return (fl_ceil_div(s->images * s->x_rows * s->x_cols * s->lane, line) | 1) * line;
}

/* to[channel / lane][image][x_rows][x_cols][lane] = channels [first, first + count) of x under the chunk, zero outside. */
void FL(pack_weight_chunk)(const fl_weight_chunks *s, const fl_weight_chunk *k, ptrdiff_t first, ptrdiff_t count, fl_real *to);

/* Row (tap, c) of the product, and where it begins in packed x: at lane + in_lane + pixel. */
typedef struct {
    ptrdiff_t tap, tap_x, c;
    ptrdiff_t lane, in_lane, pixel; /* elements */
} fl_weight_row;

/* The row after r, of `count` channels: counted on, since divisions would show. */
static inline void fl_next_weight_row(const fl_weight_chunks *s, ptrdiff_t count, fl_weight_row *r) {
    const fl_window *w = &s->c->window;
    if (++r->c < count) {
        if (++r->in_lane < s->lane) return;
        r->in_lane = 0;
        r->lane += fl_lane_size(s);
        return;
    }
    r->tap++;
    r->c = r->lane = r->in_lane = 0;
    r->pixel += w->dw * s->lane;
    if (++r->tap_x < w->kw) return;
    r->tap_x = 0;
    r->pixel += (w->dh * s->x_cols - w->kw * w->dw) * s->lane;
}

#endif
