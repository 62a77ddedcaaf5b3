/* Depthwise convolution: 4 pixels x 2 vectors of channels, or up to 9 taps of the weight gradient, in registers. */
#include "activation_ukernels.h"
#include "depthwise_ukernels.h"
#include "vec.h"

enum { PIXELS = FL_DEPTHWISE_PIXELS, TAPS = 9 };

#define UNROLL _Pragma("GCC unroll 16")
#define INLINE static inline __attribute__((always_inline))

INLINE vreal load(const fl_real *p, ptrdiff_t n) { return n >= VL ? vload(p) : vload_part(p, n); }

INLINE void store(fl_real *p, vreal v, ptrdiff_t n) {
    if (n >= VL) vstore(p, v);
    else vstore_part(p, v, n);
}

/* Channels [c, c + n) of one tile, n <= vectors * VL; partial vectors only where vectors == 1. */
INLINE void tile_channels(const fl_depthwise_tile *t, ptrdiff_t c, ptrdiff_t n, const int vectors) {
    vreal sums[PIXELS][2] = {{{0}}};
    for (ptrdiff_t tap = 0; tap < t->taps; tap++) {
        const fl_real *w = t->w[tap] + c;
        const fl_real *const *x = t->x + tap * PIXELS;
        vreal w0 = load(w, n), w1 = vectors > 1 ? vload(w + VL) : w0;
        UNROLL for (int p = 0; p < PIXELS; p++) {
            sums[p][0] += w0 * load(x[p] + c, n);
            if (vectors > 1) sums[p][1] += w1 * vload(x[p] + c + VL);
        }
    }
    for (int v = 0; v < vectors; v++) {
        vreal bias = t->bias ? load(t->bias + c + v * VL, n - v * VL) : (vreal){0};
        UNROLL for (int p = 0; p < PIXELS; p++) {
            vreal y = sums[p][v] + bias;
            if (t->activation == FL_RELU) y = vselect(y <= 0, (vreal){0}, y);
            store(t->out[p] + c + v * VL, y, n - v * VL);
        }
    }
}

static void tile(const fl_depthwise_tile *t) {
    ptrdiff_t c = t->first, end = t->first + t->n;
    for (; c + 2 * VL <= end; c += 2 * VL) tile_channels(t, c, 2 * VL, 2);
    for (; c < end; c += VL) tile_channels(t, c, end - c, 1);
    if (t->activation > FL_RELU)
        for (int p = 0; p < PIXELS; p++) {
            fl_real *out = t->out[p] + t->first;
            FL_UK(activation).forward[t->activation](t->n, out, out, t->alpha);
        }
}

/* Taps [t0, t0 + TAPS) of one vector of channels; a tap past the end repeats the last and is dropped. */
INLINE void sum_taps(const fl_depthwise_sum *s, ptrdiff_t t0, ptrdiff_t c, ptrdiff_t n) {
    vreal sums[TAPS] = {{0}};
    ptrdiff_t tap[TAPS];
    UNROLL for (int t = 0; t < TAPS; t++) tap[t] = FL_MIN(t0 + t, s->taps - 1);
    for (ptrdiff_t p = 0; p < s->pixels; p++) {
        const fl_real *const *x = s->x + p * s->taps;
        vreal dy = load(s->dy[p] + c, n);
        UNROLL for (int t = 0; t < TAPS; t++) sums[t] += dy * load(x[tap[t]] + c, n);
    }
    for (int t = 0; t < TAPS && t0 + t < s->taps; t++) {
        fl_real *dw = s->dw + (t0 + t) * s->dw_tap + c;
        store(dw, load(dw, n) + sums[t], n);
    }
}

static void sum(const fl_depthwise_sum *s) {
    for (ptrdiff_t c = s->first, end = s->first + s->n; c < end; c += VL) {
        for (ptrdiff_t t0 = 0; t0 < s->taps; t0 += TAPS) sum_taps(s, t0, c, end - c);
        if (s->db) {
            vreal db = load(s->db + c, end - c);
            for (ptrdiff_t p = 0; p < s->pixels; p++) db += load(s->dy[p] + c, end - c);
            store(s->db + c, db, end - c);
        }
    }
}

const fl_depthwise_ukernels FL_UK(depthwise) = {.tile = tile, .sum = sum};
