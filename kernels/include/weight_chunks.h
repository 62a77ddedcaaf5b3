/* The chunks of output pixels over which the weight gradient of a convolution is summed, and the copy of x under each.
 *
 * A chunk is part of a row, some rows, or several whole images: its rows of dy are one contiguous matrix (pixel, filter). */
#ifndef FL_WEIGHT_CHUNKS_H
#define FL_WEIGHT_CHUNKS_H

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

fl_weight_chunks FL(weight_chunks)(const fl_conv *c, const fl_real *x);
fl_weight_chunk FL(weight_chunk)(const fl_weight_chunks *s, ptrdiff_t number);

/* Elements of packed x for one lane of channels. */
static inline ptrdiff_t fl_lane_size(const fl_weight_chunks *s) { return s->images * s->x_rows * s->x_cols * s->lane; }

/* to[channel / lane][image][x_rows][x_cols][lane] = channels [first, first + count) of x under the chunk, zero outside. */
void FL(pack_weight_chunk)(const fl_weight_chunks *s, const fl_weight_chunk *k, ptrdiff_t first, ptrdiff_t count, fl_real *to);

#endif
