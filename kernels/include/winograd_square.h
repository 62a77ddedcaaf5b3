/* The pixels under one Winograd tile. */
#ifndef FL_WINOGRAD_SQUARE_H
#define FL_WINOGRAD_SQUARE_H

#include "fl_types.h"

/* Pointers to the size x size pixels of an image from (y0, x0) on, row by row; one outside the image points to `outside`. */
static inline void fl_square(ptrdiff_t size, const fl_real *image, ptrdiff_t h, ptrdiff_t w, ptrdiff_t channels, ptrdiff_t y0,
                             ptrdiff_t x0, const fl_real *outside, const fl_real **pixels) {
    const int within = y0 >= 0 && y0 + size <= h && x0 >= 0 && x0 + size <= w;
    for (ptrdiff_t i = 0; i < size; i++, pixels += size) {
        const ptrdiff_t y = y0 + i;
        const fl_real *row = image + (y * w + x0) * channels;
        if (within)
            for (ptrdiff_t j = 0; j < size; j++) pixels[j] = row + j * channels;
        else
            for (ptrdiff_t j = 0; j < size; j++)
                pixels[j] = y >= 0 && y < h && x0 + j >= 0 && x0 + j < w ? row + j * channels : outside;
    }
}

#endif
