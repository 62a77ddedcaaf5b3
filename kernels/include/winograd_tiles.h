/* The tiles of a Winograd convolution, the pixels under one, and the parts of its kernel.
 *
 * An axis with a dilation d is d convolutions without one, each of every d-th pixel: tile t starts at output t / d * size * d +
 * t % d.  A stride, or more taps than the form has, makes the kernel a sum of smaller ones, its parts: part q has the taps
 * first[q], first[q] + stride, ..., and sees a stride's phase of x, in which it has no stride.  A part of fewer taps than the
 * form's has nothing at the point infinity; those that have it, the whole ones, come first. */
#ifndef FL_WINOGRAD_TILES_H
#define FL_WINOGRAD_TILES_H

#include "fl_types.h"
#include "window.h"
#include "winograd_ukernels.h"

enum {
    FL_WINOGRAD_MAX_PARTS = 2,  /* along an axis */
    FL_WINOGRAD_PAD = 80,       /* elements between the xi matrices: their streams must not share cache sets */
    FL_WINOGRAD_TOGETHER = 128, /* channels of the groups that are transformed at a time, unless one has more */
};

typedef struct {
    ptrdiff_t tile, taps, points;       /* of the form, or 1 on an axis it leaves alone */
    ptrdiff_t kernel, stride, dilation; /* taps of the kernel; stride or dilation is 1 */
    ptrdiff_t parts, whole;
    ptrdiff_t first[FL_WINOGRAD_MAX_PARTS], count[FL_WINOGRAD_MAX_PARTS]; /* taps of each part */
} fl_axis;

static inline void fl_add_part(fl_axis *a, ptrdiff_t first, ptrdiff_t count) {
    a->first[a->parts] = first;
    a->count[a->parts++] = count;
}

static inline fl_axis fl_axis_of(ptrdiff_t tile, ptrdiff_t taps, ptrdiff_t points, ptrdiff_t kernel, ptrdiff_t stride,
                                 ptrdiff_t dilation) {
    fl_axis a = {.tile = tile, .taps = taps, .points = points, .kernel = kernel, .stride = stride, .dilation = dilation};
    const ptrdiff_t phases = FL_MIN(stride, kernel);
    for (ptrdiff_t phase = 0; phase < phases; phase++)
        for (ptrdiff_t tap = phase; tap + (taps - 1) * stride < kernel; tap += taps * stride) fl_add_part(&a, tap, taps);
    a.whole = a.parts;
    for (ptrdiff_t phase = 0; phase < phases; phase++) {
        const ptrdiff_t all = fl_ceil_div(kernel - phase, stride), rest = all % taps;
        if (rest) fl_add_part(&a, phase + (all - rest) * stride, rest);
    }
    return a;
}

/* How many parts, from the first on, have anything at a point. */
static inline ptrdiff_t fl_parts_at(const fl_axis *a, ptrdiff_t point) { return point == a->points - 1 ? a->whole : a->parts; }

/* Products of a tile for each pair of a channel and a filter, along one axis. */
static inline ptrdiff_t fl_axis_products(const fl_axis *a) { return a->parts * (a->points - 1) + a->whole; }

static inline ptrdiff_t fl_tiles_along(const fl_axis *a, ptrdiff_t pixels) {
    const ptrdiff_t step = a->tile * a->dilation;
    return pixels / step * a->dilation + FL_MIN(pixels % step, a->dilation);
}

typedef struct {
    fl_axis y, x;
    ptrdiff_t along_y, along_x; /* tiles that cover an image's columns and rows */
} fl_tiling;

/* The tiles that cover rows x cols pixels.  A form of one axis lies along that on which the kernel has taps. */
static inline fl_tiling fl_tiling_of(const fl_winograd_form *f, const fl_window *w, ptrdiff_t rows, ptrdiff_t cols) {
    const int on_y = f->axes == 2 || w->kw == 1, on_x = f->axes == 2 || !on_y;
    fl_tiling t;
    t.y = on_y ? fl_axis_of(f->tile, f->taps, f->points, w->kh, w->sh, w->dh) : fl_axis_of(1, 1, 1, w->kh, w->sh, w->dh);
    t.x = on_x ? fl_axis_of(f->tile, f->taps, f->points, w->kw, w->sw, w->dw) : fl_axis_of(1, 1, 1, w->kw, w->sw, w->dw);
    t.along_y = fl_tiles_along(&t.y, rows);
    t.along_x = fl_tiles_along(&t.x, cols);
    return t;
}

static inline ptrdiff_t fl_tiling_parts(const fl_tiling *t) { return t->y.parts * t->x.parts; }
static inline ptrdiff_t fl_tiling_products(const fl_tiling *t) { return fl_axis_products(&t->y) * fl_axis_products(&t->x); }

/* Whether part qy * x.parts + qx has anything at point xi. */
static inline int fl_part_has(const fl_tiling *t, ptrdiff_t part, ptrdiff_t xi) {
    return part / t->x.parts < fl_parts_at(&t->y, xi / t->x.points) && part % t->x.parts < fl_parts_at(&t->x, xi % t->x.points);
}

/* The kernel's tap that is tap (i, j) of a part, or -1 where it has fewer. */
static inline ptrdiff_t fl_part_tap(const fl_tiling *t, ptrdiff_t part, ptrdiff_t i, ptrdiff_t j) {
    const ptrdiff_t qy = part / t->x.parts, qx = part % t->x.parts;
    if (i >= t->y.count[qy] || j >= t->x.count[qx]) return -1;
    return (t->y.first[qy] + i * t->y.stride) * t->x.kernel + t->x.first[qx] + j * t->x.stride;
}

typedef struct {
    ptrdiff_t image, y, x; /* of the first output */
} fl_tile_place;

/* The first output of a tile; without dilation no division, which would be felt where channels are few. */
static inline ptrdiff_t fl_tile_start(const fl_axis *a, ptrdiff_t number) {
    const ptrdiff_t d = a->dilation;
    return d == 1 ? number * a->tile : number / d * a->tile * d + number % d;
}

static inline fl_tile_place fl_place_of(const fl_tiling *t, ptrdiff_t tile) {
    const ptrdiff_t row = tile / t->along_x, image = row / t->along_y;
    return (fl_tile_place){image, fl_tile_start(&t->y, row - image * t->along_y), fl_tile_start(&t->x, tile - row * t->along_x)};
}

/* An image, and what stands for pixels outside of it. */
typedef struct {
    const fl_real *pixels;
    ptrdiff_t h, w, channels;
    const fl_real *outside;
} fl_image;

/* Pointers to rows x cols pixels from (y0, x0) on, step_y and step_x apart, row by row. */
static inline void fl_point_at(const fl_image *image, ptrdiff_t y0, ptrdiff_t rows, ptrdiff_t step_y, ptrdiff_t x0, ptrdiff_t cols,
                           ptrdiff_t step_x, const fl_real **pixels) {
    const ptrdiff_t last_y = y0 + (rows - 1) * step_y, last_x = x0 + (cols - 1) * step_x;
    const int within = y0 >= 0 && last_y < image->h && x0 >= 0 && last_x < image->w;
    for (ptrdiff_t y = y0; y <= last_y; y += step_y) {
        const fl_real *row = image->pixels + y * image->w * image->channels;
        const int row_within = y >= 0 && y < image->h;
        if (within)
            for (ptrdiff_t x = x0; x <= last_x; x += step_x) *pixels++ = row + x * image->channels;
        else
            for (ptrdiff_t x = x0; x <= last_x; x += step_x)
                *pixels++ = row_within && x >= 0 && x < image->w ? row + x * image->channels : image->outside;
    }
}

/* The outputs of a tile, or their gradients. */
static inline void fl_outputs_of(const fl_tiling *t, fl_tile_place at, const fl_image *image, const fl_real **pixels) {
    fl_point_at(image, at.y, t->y.tile, t->y.dilation, at.x, t->x.tile, t->x.dilation, pixels);
}

/* What part (qy, qx) of the kernel sees of x under a tile; top and left are the padding. */
static inline void fl_inputs_of(const fl_tiling *t, fl_tile_place at, ptrdiff_t qy, ptrdiff_t qx, ptrdiff_t top, ptrdiff_t left,
                                const fl_image *image, const fl_real **pixels) {
    fl_point_at(image, at.y * t->y.stride - top + t->y.first[qy] * t->y.dilation, t->y.points, t->y.stride * t->y.dilation,
            at.x * t->x.stride - left + t->x.first[qx] * t->x.dilation, t->x.points, t->x.stride * t->x.dilation, pixels);
}

/* Elements from a pixel of a tile of outputs, or of inputs, to that of the tile to the right. */
static inline ptrdiff_t fl_next_outputs(const fl_tiling *t, const fl_image *image) {
    return (t->x.dilation > 1 ? 1 : t->x.tile) * image->channels;
}
static inline ptrdiff_t fl_next_inputs(const fl_tiling *t, const fl_image *image) {
    return fl_next_outputs(t, image) * t->x.stride;
}

#endif
