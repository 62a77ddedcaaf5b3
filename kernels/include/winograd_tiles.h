/* The tiles of a Winograd convolution, and the pixels under one.
 *
 * A tile is size x size pixels, step_y rows and step_x columns apart: with a dilation d, every d-th pixel of an axis belongs to a
 * convolution of its own, without dilation.  Along an axis, tile t starts at pixel t / d * size * d + t % d. */
#ifndef FL_WINOGRAD_TILES_H
#define FL_WINOGRAD_TILES_H

#include "fl_types.h"

typedef struct {
    ptrdiff_t size, step_y, step_x;
    ptrdiff_t along_y, along_x; /* tiles that cover an image's columns and rows */
} fl_tiling;

static inline ptrdiff_t fl_tiles_along(ptrdiff_t pixels, ptrdiff_t size, ptrdiff_t step) {
    return pixels / (size * step) * step + FL_MIN(pixels % (size * step), step);
}

static inline fl_tiling fl_tiling_of(ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t size, ptrdiff_t step_y, ptrdiff_t step_x) {
    return (fl_tiling){size, step_y, step_x, fl_tiles_along(rows, size, step_y), fl_tiles_along(cols, size, step_x)};
}

typedef struct {
    ptrdiff_t image, y, x; /* of the first pixel */
} fl_tile_place;

static inline fl_tile_place fl_place_of(const fl_tiling *t, ptrdiff_t tile) {
    const ptrdiff_t y = tile / t->along_x % t->along_y, x = tile % t->along_x;
    return (fl_tile_place){tile / t->along_x / t->along_y, y / t->step_y * t->size * t->step_y + y % t->step_y,
                           x / t->step_x * t->size * t->step_x + x % t->step_x};
}

/* Pointers to `size` x `size` pixels of an image from (y0, x0) on, the tiling's steps apart, row by row; one outside the image
 * points to `outside`. */
static inline void fl_square(const fl_tiling *t, ptrdiff_t size, const fl_real *image, ptrdiff_t h, ptrdiff_t w,
                             ptrdiff_t channels, ptrdiff_t y0, ptrdiff_t x0, const fl_real *outside, const fl_real **pixels) {
    const ptrdiff_t last_y = y0 + (size - 1) * t->step_y, last_x = x0 + (size - 1) * t->step_x;
    const int within = y0 >= 0 && last_y < h && x0 >= 0 && last_x < w;
    for (ptrdiff_t y = y0; y <= last_y; y += t->step_y) {
        const fl_real *row = image + y * w * channels;
        if (within)
            for (ptrdiff_t x = x0; x <= last_x; x += t->step_x) *pixels++ = row + x * channels;
        else
            for (ptrdiff_t x = x0; x <= last_x; x += t->step_x)
                *pixels++ = y >= 0 && y < h && x >= 0 && x < w ? row + x * channels : outside;
    }
}

#endif
