/* Transforms of Winograd's minimal filtering; see winograd_ukernels.h. */
#include "activation_ukernels.h"
#include "vec.h"
#include "winograd_ukernels.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 36")

enum { MAX_POINTS = FL_WINOGRAD_MAX_POINTS };

/* The points of m = 4: +-A and +-B, with A^2 = 1/2 and B^2 = 2. */
#define A ((fl_real)0.70710678118654752440)
#define B ((fl_real)1.41421356237309504880)

/* One axis of each transform, on vectors `step` apart, in place. */

INLINE void input_axis(const int m, vreal *d, const int step) { /* B^T d */
    vreal d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    if (m == 2) {
        d[0] = d0 - d2;
        d[step] = d1 + d2;
        d[2 * step] = d2 - d1;
        d[3 * step] = d1 - d3;
        return;
    }
    vreal d4 = d[4 * step], d5 = d[5 * step];
    vreal even_a = d4 - 2 * d2, odd_a = A * (d3 - 2 * d1), even_b = d4 - (fl_real)0.5 * d2, odd_b = B * (d3 - (fl_real)0.5 * d1);
    d[0] = d0 - (fl_real)2.5 * d2 + d4;
    d[step] = even_a + odd_a;
    d[2 * step] = even_a - odd_a;
    d[3 * step] = even_b + odd_b;
    d[4 * step] = even_b - odd_b;
    d[5 * step] = d1 - (fl_real)2.5 * d3 + d5;
}

INLINE void weights_axis(const int m, const vreal *g, const int g_step, vreal *u, const int step) { /* G g */
    vreal g0 = g[0], g1 = g[g_step], g2 = g[2 * g_step];
    u[0] = g0;
    if (m == 2) {
        vreal even = (fl_real)0.5 * (g0 + g2), odd = (fl_real)0.5 * g1;
        u[step] = even + odd;
        u[2 * step] = even - odd;
        u[3 * step] = g2;
        return;
    }
    const fl_real fa = (fl_real)(-2.0 / 3), fb = (fl_real)(1.0 / 6);
    vreal even_a = fa * (g0 + (fl_real)0.5 * g2), odd_a = (fa * A) * g1, even_b = fb * (g0 + 2 * g2), odd_b = (fb * B) * g1;
    u[step] = even_a + odd_a;
    u[2 * step] = even_a - odd_a;
    u[3 * step] = even_b + odd_b;
    u[4 * step] = even_b - odd_b;
    u[5 * step] = g2;
}

INLINE void output_axis(const int m, const vreal *s, const int s_step, vreal *y, const int step) { /* A^T s */
    vreal s0 = s[0], s1 = s[s_step], s2 = s[2 * s_step], s3 = s[3 * s_step];
    if (m == 2) {
        y[0] = s0 + s1 + s2;
        y[step] = s1 - s2 - s3;
        return;
    }
    vreal s4 = s[4 * s_step], s5 = s[5 * s_step];
    vreal even_a = s1 + s2, odd_a = s1 - s2, even_b = s3 + s4, odd_b = s3 - s4;
    y[0] = s0 + even_a + even_b;
    y[step] = A * odd_a + B * odd_b;
    y[2 * step] = (fl_real)0.5 * even_a + 2 * even_b;
    y[3 * step] = (fl_real)0.5 * A * odd_a + 2 * B * odd_b + s5;
}

INLINE vreal load(const fl_real *p, ptrdiff_t n, const int whole) { return whole ? vload(p) : vload_part(p, n); }

/* Rows [from, to) of one vector of channels, whole or the first n lanes; axis by axis, so that few values are alive at once. */
INLINE void input_vector(const int m, const int from, const int to, ptrdiff_t n, const int whole, ptrdiff_t c, const fl_real *const *pixels, fl_real *v,
                         ptrdiff_t v_xi) {
    const int p = m + 2;
    vreal d[MAX_POINTS * MAX_POINTS];
    UNROLL for (int j = 0; j < p; j++) {
        UNROLL for (int i = 0; i < p; i++) d[i * p + j] = load(pixels[i * p + j] + c, n, whole);
        input_axis(m, d + j, p);
    }
    UNROLL for (int i = from; i < to; i++) {
        input_axis(m, d + i * p, 1);
        UNROLL for (int j = 0; j < p; j++) vstore(v + ((i - from) * p + j) * v_xi + c, d[i * p + j]);
    }
}

/* Ask for the pixels of the tile to the right, which comes next: of p x p pixels here, those in columns first... there. */
INLINE void prefetch_right(const int m, const int p, const int first, ptrdiff_t c, ptrdiff_t channels,
                           const fl_real *const *pixels) {
    UNROLL for (int i = 0; i < p; i++)
        UNROLL for (int j = first; j < p; j++) __builtin_prefetch(pixels[i * p + j] + m * channels + c);
}

INLINE void input(const int m, const int from, const int to, ptrdiff_t channels, const fl_real *const *pixels, fl_real *v,
                  ptrdiff_t v_xi) {
    ptrdiff_t c = 0;
    for (; c + VL <= channels; c += VL) {
        prefetch_right(m, m + 2, 2, c, channels, pixels);
        input_vector(m, from, to, VL, 1, c, pixels, v, v_xi);
    }
    if (c < channels) input_vector(m, from, to, channels - c, 0, c, pixels, v, v_xi);
}

INLINE void weights(const int m, ptrdiff_t size, const fl_real *taps, fl_real *u, ptrdiff_t u_xi) {
    const int p = m + 2;
    for (ptrdiff_t at = 0; at < size; at += VL) {
        vreal g[9], half[MAX_POINTS * 3], all[MAX_POINTS];
        UNROLL for (int i = 0; i < 9; i++) g[i] = vload(taps + i * size + at);
        UNROLL for (int j = 0; j < 3; j++) weights_axis(m, g + j, 3, half + j, 3);
        UNROLL for (int i = 0; i < p; i++) {
            weights_axis(m, half + 3 * i, 1, all, 1);
            UNROLL for (int j = 0; j < p; j++) vstore(u + (i * p + j) * u_xi + at, all[j]);
        }
    }
}

INLINE void output(const int m, ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi, const fl_real *bias, int activation,
                   fl_real alpha, fl_real *const *y) {
    const int p = m + 2;
    for (ptrdiff_t c = 0; c < columns; c += VL) {
        const ptrdiff_t n = columns - c;
        vreal half[FL_WINOGRAD_MAX_TILE * MAX_POINTS], out[FL_WINOGRAD_MAX_TILE];
        UNROLL for (int j = 0; j < p; j++) {
            vreal s[MAX_POINTS];
            UNROLL for (int i = 0; i < p; i++) s[i] = vload(sums + (i * p + j) * s_xi + c);
            output_axis(m, s, 1, half + j, p);
        }
        vreal b = !bias ? (vreal){0} : n >= VL ? vload(bias + c) : vload_part(bias + c, n);
        UNROLL for (int i = 0; i < m; i++) {
            output_axis(m, half + i * p, 1, out, 1);
            UNROLL for (int j = 0; j < m; j++) {
                vreal r = out[j] + b;
                if (activation == FL_RELU) r = vselect(r <= 0, (vreal){0}, r);
                if (n >= VL) vstore(y[i * m + j] + c, r);
                else vstore_part(y[i * m + j] + c, r, n);
            }
        }
    }
    if (activation > FL_RELU)
        for (int i = 0; i < m * m; i++) FL_UK(activation).forward[activation](columns, y[i], y[i], alpha);
}

INLINE void gradient_axis(const int m, const vreal *g, const int g_step, vreal *z, const int step) { /* Gm g */
    vreal g0 = g[0], g1 = g[g_step];
    z[0] = g0;
    if (m == 2) {
        z[step] = (fl_real)0.5 * (g0 + g1);
        z[2 * step] = (fl_real)0.5 * (g0 - g1);
        z[3 * step] = g1;
        return;
    }
    const fl_real fa = (fl_real)(-2.0 / 3), fb = (fl_real)(1.0 / 6);
    vreal g2 = g[2 * g_step], g3 = g[3 * g_step];
    vreal even_a = fa * (g0 + (fl_real)0.5 * g2), odd_a = (fa * A) * (g1 + (fl_real)0.5 * g3);
    vreal even_b = fb * (g0 + 2 * g2), odd_b = (fb * B) * (g1 + 2 * g3);
    z[step] = even_a + odd_a;
    z[2 * step] = even_a - odd_a;
    z[3 * step] = even_b + odd_b;
    z[4 * step] = even_b - odd_b;
    z[5 * step] = g3;
}

INLINE void taps_axis(const int m, const vreal *s, const int s_step, vreal *w, const int step) { /* A3^T s */
    vreal even_a = s[s_step] + s[2 * s_step], odd_a = s[s_step] - s[2 * s_step];
    if (m == 2) {
        w[0] = s[0] + even_a;
        w[step] = odd_a;
        w[2 * step] = even_a - s[3 * s_step];
        return;
    }
    vreal even_b = s[3 * s_step] + s[4 * s_step], odd_b = s[3 * s_step] - s[4 * s_step];
    w[0] = s[0] + even_a + even_b;
    w[step] = A * odd_a + B * odd_b;
    w[2 * step] = (fl_real)0.5 * even_a + 2 * even_b + s[5 * s_step];
}

INLINE void gradient_vector(const int m, const int from, const int to, ptrdiff_t n, const int whole, ptrdiff_t o,
                            const fl_real *const *pixels, fl_real *z, ptrdiff_t z_xi) {
    const int p = m + 2;
    vreal half[MAX_POINTS * FL_WINOGRAD_MAX_TILE], all[MAX_POINTS];
    UNROLL for (int j = 0; j < m; j++) {
        vreal g[FL_WINOGRAD_MAX_TILE];
        UNROLL for (int i = 0; i < m; i++) g[i] = load(pixels[i * m + j] + o, n, whole);
        gradient_axis(m, g, 1, half + j, m);
    }
    UNROLL for (int i = from; i < to; i++) {
        gradient_axis(m, half + m * i, 1, all, 1);
        UNROLL for (int j = 0; j < p; j++) vstore(z + ((i - from) * p + j) * z_xi + o, all[j]);
    }
}

INLINE void gradient(const int m, const int from, const int to, ptrdiff_t filters, const fl_real *const *pixels, fl_real *z,
                     ptrdiff_t z_xi) {
    ptrdiff_t o = 0;
    for (; o + VL <= filters; o += VL) {
        prefetch_right(m, m, 0, o, filters, pixels);
        gradient_vector(m, from, to, VL, 1, o, pixels, z, z_xi);
    }
    if (o < filters) gradient_vector(m, from, to, filters - o, 0, o, pixels, z, z_xi);
}

INLINE void gradient_weights(const int m, ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi, ptrdiff_t slices,
                             ptrdiff_t s_slice, fl_real *const *dw, int accumulate) {
    const int p = m + 2;
    for (ptrdiff_t o = 0; o < columns; o += VL) {
        const ptrdiff_t n = columns - o;
        vreal s[MAX_POINTS * MAX_POINTS], half[3 * MAX_POINTS], out[3];
        for (int xi = 0; xi < p * p; xi++) {
            s[xi] = vload(sums + xi * s_xi + o);
            for (ptrdiff_t slice = 1; slice < slices; slice++) s[xi] += vload(sums + slice * s_slice + xi * s_xi + o);
        }
        UNROLL for (int j = 0; j < p; j++) taps_axis(m, s + j, p, half + j, p);
        for (int i = 0; i < 3; i++) {
            taps_axis(m, half + p * i, 1, out, 1);
            for (int j = 0; j < 3; j++) {
                fl_real *to = dw[3 * i + j] + o;
                if (accumulate) out[j] += n >= VL ? vload(to) : vload_part(to, n);
                if (n >= VL) vstore(to, out[j]);
                else vstore_part(to, out[j], n);
            }
        }
    }
}

#define ROWS(m, part, from, to)                                                                                           \
    static void input_##m##_##part(ptrdiff_t channels, const fl_real *const *pixels, fl_real *v, ptrdiff_t v_xi) {        \
        input(m, from, to, channels, pixels, v, v_xi);                                                                    \
    }                                                                                                                     \
    static void gradient_##m##_##part(ptrdiff_t filters, const fl_real *const *pixels, fl_real *z, ptrdiff_t z_xi) {      \
        gradient(m, from, to, filters, pixels, z, z_xi);                                                                  \
    }
ROWS(2, all, 0, 4)
ROWS(2, upper, 0, 2)
ROWS(2, lower, 2, 4)
ROWS(4, all, 0, 6)
ROWS(4, upper, 0, 3)
ROWS(4, lower, 3, 6)

#define TRANSFORMS(m)                                                                                                     \
    static void weights_##m(ptrdiff_t size, const fl_real *taps, fl_real *u, ptrdiff_t u_xi) {                            \
        weights(m, size, taps, u, u_xi);                                                                                  \
    }                                                                                                                     \
    static void output_##m(ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi, const fl_real *bias, int activation,   \
                           fl_real alpha, fl_real *const *y) {                                                            \
        output(m, columns, sums, s_xi, bias, activation, alpha, y);                                                       \
    }                                                                                                                     \
    static void gradient_weights_##m(ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi, ptrdiff_t slices,            \
                                     ptrdiff_t s_slice, fl_real *const *dw, int accumulate) {                             \
        gradient_weights(m, columns, sums, s_xi, slices, s_slice, dw, accumulate);                                        \
    }
TRANSFORMS(2)
TRANSFORMS(4)

#define FORWARD(m) {.input = input_##m##_all, .weights = weights_##m, .output = output_##m}
#define GRADIENT(m)                                                                                     \
    {.gradient = gradient_##m##_all, .weights = gradient_weights_##m,                                   \
     .half_input = {input_##m##_upper, input_##m##_lower}, .half_gradient = {gradient_##m##_upper, gradient_##m##_lower}}

const fl_winograd_ukernels FL_UK(winograd) = {.f2 = FORWARD(2), .f4 = FORWARD(4), .f2_gradient = GRADIENT(2), .f4_gradient = GRADIENT(4)};
