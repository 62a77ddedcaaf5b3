/* Pooling over whole planes: vectors along the pixels, several side by side where there are enough of them. */
#include "pool_plane_ukernels.h"

#include "pool_lanes.h"
#include "varray.h"

enum { STREAMS = 4, PART = 16 / sizeof(fl_real), PARTS = FL_VECTOR_BYTES / 16 };

typedef fl_real part __attribute__((vector_size(16)));
typedef fl_int part_int __attribute__((vector_size(16)));

/* ---- all lanes of a vector as one ---- */

FL_INLINE fl_real sum_of_lanes(vreal v) {
    part parts[PARTS];
    memcpy(parts, &v, sizeof v);
    for (int width = PARTS / 2; width; width /= 2)
        for (int i = 0; i < width; i++) parts[i] += parts[i + width];
    fl_real sum = 0;
    for (int lane = 0; lane < PART; lane++) sum += parts[0][lane];
    return sum;
}

FL_INLINE fl_real largest_lane(vreal v) { return row_maximum(VL, (const fl_real *)&v); }

FL_INLINE fl_int smallest_lane(vint v) {
    part_int parts[PARTS];
    memcpy(parts, &v, sizeof v);
    for (int i = 1; i < PARTS; i++) {
        const part_int less = parts[i] < parts[0];
        parts[0] = (parts[i] & less) | (parts[0] & ~less);
    }
    fl_int smallest = parts[0][0];
    for (int lane = 1; lane < PART; lane++) smallest = FL_MIN(smallest, parts[0][lane]);
    return smallest;
}

/* ---- maximum ---- */

static ptrdiff_t first_maximum(ptrdiff_t pixels, const fl_real *x) {
    ptrdiff_t best = 0;
    for (ptrdiff_t i = 1; i < pixels && x[best] == x[best]; i++)
        if (!(x[i] <= x[best])) best = i;
    return best;
}

/* The first maximum of each lane of each stream, then the first of these; pixels >= VL. */
FL_INLINE ptrdiff_t first_maximum_of_vectors(ptrdiff_t pixels, const fl_real *x, const int streams) {
    const vint none = vsplat_int(pixels);
    vreal best[STREAMS];
    vint from[STREAMS], lanes; /* from: where the vector began */
    ptrdiff_t i = streams * VL;
    for (int s = 0; s < streams; s++) {
        best[s] = vload(x + s * VL);
        from[s] = vsplat_int(s * VL);
    }
    for (; i + streams * VL <= pixels; i += streams * VL)
        for (int s = 0; s < streams; s++) {
            const vreal here = vload(x + i + s * VL);
            const vmask better = beats(here, best[s]);
            best[s] = pick(better, here, best[s]);
            from[s] = pick_int(better, vsplat_int(i + s * VL), from[s]);
        }
    for (; i < pixels; i += VL) { /* the last vector overlaps the one before */
        const ptrdiff_t at = FL_MIN(i, pixels - VL);
        const vreal here = vload(x + at);
        const vmask better = beats(here, best[0]);
        best[0] = pick(better, here, best[0]);
        from[0] = pick_int(better, vsplat_int(at), from[0]);
    }
    for (ptrdiff_t lane = 0; lane < VL; lane++) lanes[lane] = (fl_int)lane;
    vreal top = best[0], nans = best[0] * 0;
    for (int s = 1; s < streams; s++) {
        top = vmax(best[s], top);
        nans += best[s] * 0;
    }
    if (sum_of_lanes(nans) != 0) return first_maximum(pixels, x); /* NaN, or an infinity */
    const vreal largest = vsplat(largest_lane(top));
    vint first = none;
    for (int s = 0; s < streams; s++) {
        const vint at = vselect_int((vint)(best[s] == largest), from[s] + lanes, none);
        first = vselect_int((vint)(at < first), at, first);
    }
    return smallest_lane(first);
}

static void max(ptrdiff_t planes, ptrdiff_t pixels, const fl_real *x, fl_real *y, fl_int *argmax) {
    for (ptrdiff_t plane = 0; plane < planes; plane++, x += pixels) {
        const ptrdiff_t best = pixels < VL                ? first_maximum(pixels, x)
                               : pixels < 2 * STREAMS * VL ? first_maximum_of_vectors(pixels, x, 1)
                                                           : first_maximum_of_vectors(pixels, x, STREAMS);
        y[plane] = x[best];
        argmax[plane] = (fl_int)best;
    }
}

/* ---- average ---- */

FL_INLINE fl_real sum_of_pixels(ptrdiff_t pixels, const fl_real *x) {
    vreal sums[STREAMS] = {{0}};
    ptrdiff_t i = 0;
    for (; i + STREAMS * VL <= pixels; i += STREAMS * VL)
        for (int s = 0; s < STREAMS; s++) sums[s] += vload(x + i + s * VL);
    for (; i < pixels; i += VL) sums[0] += vload_next(x + i, pixels - i);
    return sum_of_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

static void average(ptrdiff_t planes, ptrdiff_t pixels, const fl_real *x, fl_real *y) {
    for (ptrdiff_t plane = 0; plane < planes; plane++) y[plane] = sum_of_pixels(pixels, x + plane * pixels) / (fl_real)pixels;
}

static void spread(ptrdiff_t planes, ptrdiff_t pixels, const fl_real *dy, fl_real *dx) {
    for (ptrdiff_t plane = 0; plane < planes; plane++, dx += pixels) {
        const vreal share = vsplat(dy[plane] / (fl_real)pixels);
        for (ptrdiff_t i = 0; i < pixels; i += VL) vstore_next(dx + i, share, pixels - i);
    }
}

const fl_pool_plane_ukernels FL_UK(pool_plane) = {.max = max, .average = average, .spread = spread};
