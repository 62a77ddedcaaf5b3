/* Transforms of Winograd's minimal filtering; see winograd_ukernels.h. */
#include "activation_ukernels.h"
#include "blocking.h"
#include "vec.h"
#include "winograd_ukernels.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 36")

enum { MAX_POINTS = FL_WINOGRAD_MAX_POINTS, MAX_TILE = FL_WINOGRAD_MAX_TILE, MAX_TAPS = FL_WINOGRAD_MAX_TAPS,
       LINE = FL_LINE / sizeof(fl_real) };

/* The points beside infinity: 0 and +-1 where p = 4; +-A and +-B, with A^2 = 1/2 and B^2 = 2, where p = 5; 0 as well where p = 6. */
#define A ((fl_real)0.70710678118654752440)
#define B ((fl_real)1.41421356237309504880)

/* The powers of 1, A and B. */
static const fl_real ones[MAX_TAPS] = {1, 1, 1, 1, 1}, powers_a[MAX_TAPS] = {1, A, (fl_real)0.5, (fl_real)0.5 * A, (fl_real)0.25},
                     powers_b[MAX_TAPS] = {1, B, 2, 2 * B, 4};

/* One axis of each transform, on vectors `step` apart. */

INLINE void input_axis(const int p, vreal *d, const int step) { /* B^T d, in place */
    vreal d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    if (p == 4) {
        d[0] = d0 - d2;
        d[step] = d1 + d2;
        d[2 * step] = d2 - d1;
        d[3 * step] = d3 - d1;
        return;
    }
    vreal d4 = d[4 * step];
    if (p == 5) {
        vreal even_a = d2 - 2 * d0, odd_a = B * (d3 - 2 * d1), even_b = d2 - (fl_real)0.5 * d0, odd_b = A * (d3 - (fl_real)0.5 * d1);
        d[0] = even_a + odd_a;
        d[step] = even_a - odd_a;
        d[2 * step] = even_b + odd_b;
        d[3 * step] = even_b - odd_b;
        d[4 * step] = d0 - (fl_real)2.5 * d2 + d4;
        return;
    }
    vreal d5 = d[5 * step];
    vreal even_a = d4 - 2 * d2, odd_a = A * (d3 - 2 * d1), even_b = d4 - (fl_real)0.5 * d2, odd_b = B * (d3 - (fl_real)0.5 * d1);
    d[0] = d0 - (fl_real)2.5 * d2 + d4;
    d[step] = even_a + odd_a;
    d[2 * step] = even_a - odd_a;
    d[3 * step] = even_b + odd_b;
    d[4 * step] = even_b - odd_b;
    d[5 * step] = d1 - (fl_real)2.5 * d3 + d5;
}

/* u[0], u[step] = f times the polynomial with coefficients g at a and -a, of which `power` has the powers */
INLINE void at_points(const fl_real f, const fl_real *power, const int taps, const vreal *g, const int g_step, vreal *u,
                      const int step) {
    vreal even = f * g[0], odd = f * power[1] * g[g_step];
    UNROLL for (int i = 2; i < taps; i++) {
        if (i % 2) odd += f * power[i] * g[i * g_step];
        else even += f * power[i] * g[i * g_step];
    }
    u[0] = even + odd;
    u[step] = even - odd;
}

INLINE void filter_axis(const int p, const int taps, const vreal *g, const int g_step, vreal *u, const int step) { /* G g */
    if (p == 5) {
        at_points((fl_real)(-1.0 / 3), powers_a, taps, g, g_step, u, step);
        at_points((fl_real)(1.0 / 3), powers_b, taps, g, g_step, u + 2 * step, step);
    } else u[0] = g[0];
    if (p == 4) at_points((fl_real)0.5, ones, taps, g, g_step, u + step, step);
    if (p == 6) {
        at_points((fl_real)(-2.0 / 3), powers_a, taps, g, g_step, u + step, step);
        at_points((fl_real)(1.0 / 6), powers_b, taps, g, g_step, u + 3 * step, step);
    }
    u[(p - 1) * step] = g[(taps - 1) * g_step];
}

INLINE void output_axis(const int p, const int outputs, const vreal *s, const int s_step, vreal *y, const int step) { /* A^T s */
    const fl_real *first = p == 4 ? ones : powers_a;
    const int zero = p != 5; /* whether 0 is a point */
    vreal even_a = s[zero * s_step] + s[(zero + 1) * s_step], odd_a = s[zero * s_step] - s[(zero + 1) * s_step];
    vreal even_b = even_a, odd_b = odd_a;
    if (p >= 5) {
        even_b = s[(zero + 2) * s_step] + s[(zero + 3) * s_step];
        odd_b = s[(zero + 2) * s_step] - s[(zero + 3) * s_step];
    }
    UNROLL for (int i = 0; i < outputs; i++) {
        vreal sum = first[i] * (i % 2 ? odd_a : even_a);
        if (p >= 5) sum += powers_b[i] * (i % 2 ? odd_b : even_b);
        if (i == 0 && zero) sum += s[0];
        if (i == outputs - 1) sum += s[(p - 1) * s_step];
        y[i * step] = sum;
    }
}

INLINE vreal load(const fl_real *p, ptrdiff_t n, const int whole) { return whole ? vload(p) : vload_part(p, n); }

/* A form of `axes` axes has across(axes, n) columns where it has n rows: one that works along a single axis has a column alone. */
INLINE int across(const int axes, const int n) { return axes == 2 ? n : 1; }

/* Ask for pixels of the tile to the right, which comes next and lies `next` elements ahead: those from column `first` on. */
INLINE void prefetch_right(const int rows, const int cols, const int first, ptrdiff_t c, ptrdiff_t next, const fl_real *const *pixels) {
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = first; j < cols; j++) __builtin_prefetch(pixels[i * cols + j] + next + c);
}

/* Rows [from, to) of one vector of channels, whole or the first n lanes; axis by axis, so that few values are alive at once. */
INLINE void input_vector(const int axes, const int p, const int from, const int to, ptrdiff_t n, const int whole, ptrdiff_t c,
                         const fl_real *const *pixels, fl_real *v, ptrdiff_t v_xi) {
    const int cols = across(axes, p);
    vreal d[MAX_POINTS * MAX_POINTS];
    UNROLL for (int j = 0; j < cols; j++) {
        UNROLL for (int i = 0; i < p; i++) d[i * cols + j] = load(pixels[i * cols + j] + c, n, whole);
        input_axis(p, d + j, cols);
    }
    UNROLL for (int i = from; i < to; i++) {
        if (axes == 2) input_axis(p, d + i * p, 1);
        UNROLL for (int j = 0; j < cols; j++) vstore(v + ((i - from) * cols + j) * v_xi + c, d[i * cols + j]);
    }
}

INLINE void input(const int axes, const int m, const int p, const int from, const int to, ptrdiff_t channels, ptrdiff_t next,
                  const fl_real *const *pixels, fl_real *v, ptrdiff_t v_xi) {
    ptrdiff_t c = 0;
    for (; c + VL <= channels; c += VL) {
        prefetch_right(p, across(axes, p), axes == 2 ? p - m : 0, c, next, pixels);
        input_vector(axes, p, from, to, VL, 1, c, pixels, v, v_xi);
    }
    if (c < channels) input_vector(axes, p, from, to, channels - c, 0, c, pixels, v, v_xi);
}

INLINE void weights(const int axes, const int r, const int p, ptrdiff_t size, const fl_real *taps, fl_real *u, ptrdiff_t u_xi) {
    const int cols = across(axes, r), points = across(axes, p);
    for (ptrdiff_t at = 0; at < size; at += VL) {
        vreal half[MAX_POINTS * MAX_TAPS], all[MAX_POINTS];
        UNROLL for (int j = 0; j < cols; j++) {
            vreal g[MAX_TAPS];
            UNROLL for (int i = 0; i < r; i++) g[i] = vload(taps + (i * cols + j) * size + at);
            filter_axis(p, r, g, 1, half + j, cols);
        }
        UNROLL for (int i = 0; i < p; i++) {
            if (axes == 2) filter_axis(p, r, half + r * i, 1, all, 1);
            else all[0] = half[i];
            UNROLL for (int j = 0; j < points; j++) vstore(u + (i * points + j) * u_xi + at, all[j]);
        }
    }
}

INLINE void output(const int axes, const int m, const int p, ptrdiff_t columns, ptrdiff_t next, const fl_real *sums,
                   ptrdiff_t s_xi, const fl_real *bias, int activation, fl_real alpha, fl_real *const *y) {
    const int cols = across(axes, m), points = across(axes, p);
    if (columns <= LINE) /* wider runs the hardware follows */
        UNROLL for (int i = 0; i < m * cols; i++) __builtin_prefetch(y[i] + next, 1);
    for (ptrdiff_t c = 0; c < columns; c += VL) {
        const ptrdiff_t n = columns - c;
        vreal half[MAX_TILE * MAX_POINTS], out[MAX_TILE];
        UNROLL for (int j = 0; j < points; j++) {
            vreal s[MAX_POINTS];
            UNROLL for (int i = 0; i < p; i++) s[i] = vload(sums + (i * points + j) * s_xi + c);
            output_axis(p, m, s, 1, half + j, points);
        }
        vreal b = !bias ? (vreal){0} : n >= VL ? vload(bias + c) : vload_part(bias + c, n);
        UNROLL for (int i = 0; i < m; i++) {
            if (axes == 2) output_axis(p, m, half + i * p, 1, out, 1);
            else out[0] = half[i];
            UNROLL for (int j = 0; j < cols; j++) {
                vreal result = out[j] + b;
                if (activation == FL_RELU) result = vselect(result <= 0, (vreal){0}, result);
                if (n >= VL) vstore(y[i * cols + j] + c, result);
                else vstore_part(y[i * cols + j] + c, result, n);
            }
        }
    }
    if (activation > FL_RELU)
        for (int i = 0; i < m * cols; i++) FL_UK(activation).forward[activation](columns, y[i], y[i], alpha);
}

INLINE void gradient_vector(const int axes, const int m, const int p, const int from, const int to, ptrdiff_t n, const int whole,
                            ptrdiff_t o, const fl_real *const *pixels, fl_real *z, ptrdiff_t z_xi) {
    const int cols = across(axes, m), points = across(axes, p);
    vreal half[MAX_POINTS * MAX_TILE], all[MAX_POINTS], sum = {0};
    UNROLL for (int j = 0; j < cols; j++) {
        vreal g[MAX_TILE];
        UNROLL for (int i = 0; i < m; i++) {
            g[i] = load(pixels[i * cols + j] + o, n, whole);
            sum += g[i];
        }
        filter_axis(p, m, g, 1, half + j, cols);
    }
    if (from == 0) vstore(z + to * points * z_xi + o, sum);
    UNROLL for (int i = from; i < to; i++) {
        if (axes == 2) filter_axis(p, m, half + m * i, 1, all, 1);
        else all[0] = half[i];
        UNROLL for (int j = 0; j < points; j++) vstore(z + ((i - from) * points + j) * z_xi + o, all[j]);
    }
}

INLINE void gradient(const int axes, const int m, const int p, const int from, const int to, ptrdiff_t filters, ptrdiff_t next,
                     const fl_real *const *pixels, fl_real *z, ptrdiff_t z_xi) {
    ptrdiff_t o = 0;
    for (; o + VL <= filters; o += VL) {
        prefetch_right(m, across(axes, m), 0, o, next, pixels);
        gradient_vector(axes, m, p, from, to, VL, 1, o, pixels, z, z_xi);
    }
    if (o < filters) gradient_vector(axes, m, p, from, to, filters - o, 0, o, pixels, z, z_xi);
}

INLINE void weights_gradient(const int axes, const int r, const int p, ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi,
                             ptrdiff_t slices, ptrdiff_t s_slice, fl_real *const *dw, int accumulate) {
    const int cols = across(axes, r), points = across(axes, p);
    for (ptrdiff_t o = 0; o < columns; o += VL) {
        const ptrdiff_t n = columns - o;
        vreal s[MAX_POINTS * MAX_POINTS], half[MAX_TAPS * MAX_POINTS], out[MAX_TAPS];
        for (int xi = 0; xi < p * points; xi++) {
            s[xi] = vload(sums + xi * s_xi + o);
            for (ptrdiff_t slice = 1; slice < slices; slice++) s[xi] += vload(sums + slice * s_slice + xi * s_xi + o);
        }
        UNROLL for (int j = 0; j < points; j++) output_axis(p, r, s + j, points, half + j, points);
        for (int i = 0; i < r; i++) {
            if (axes == 2) output_axis(p, r, half + p * i, 1, out, 1);
            else out[0] = half[i];
            for (int j = 0; j < cols; j++) {
                fl_real *to = dw[cols * i + j] + o;
                if (accumulate) out[j] += n >= VL ? vload(to) : vload_part(to, n);
                if (n >= VL) vstore(to, out[j]);
                else vstore_part(to, out[j], n);
            }
        }
    }
}

#define ROWS(name, axes, m, p, part, from, to)                                                                             \
    static void input_##name##_##part(ptrdiff_t channels, ptrdiff_t next, const fl_real *const *pixels, fl_real *v,        \
                                      ptrdiff_t v_xi) {                                                                    \
        input(axes, m, p, from, to, channels, next, pixels, v, v_xi);                                                      \
    }                                                                                                                      \
    static void gradient_##name##_##part(ptrdiff_t filters, ptrdiff_t next, const fl_real *const *pixels, fl_real *z,      \
                                         ptrdiff_t z_xi) {                                                                 \
        gradient(axes, m, p, from, to, filters, next, pixels, z, z_xi);                                                    \
    }

#define FORM(name, axes, m, r, p)                                                                                          \
    ROWS(name, axes, m, p, all, 0, p)                                                                                      \
    ROWS(name, axes, m, p, upper, 0, p / 2)                                                                                \
    ROWS(name, axes, m, p, lower, p / 2, p)                                                                                \
    static void weights_##name(ptrdiff_t size, const fl_real *taps, fl_real *u, ptrdiff_t u_xi) {                          \
        weights(axes, r, p, size, taps, u, u_xi);                                                                          \
    }                                                                                                                      \
    static void output_##name(ptrdiff_t columns, ptrdiff_t next, const fl_real *sums, ptrdiff_t s_xi, const fl_real *bias, \
                              int activation, fl_real alpha, fl_real *const *y) {                                          \
        output(axes, m, p, columns, next, sums, s_xi, bias, activation, alpha, y);                                         \
    }                                                                                                                      \
    static void weights_gradient_##name(ptrdiff_t columns, const fl_real *sums, ptrdiff_t s_xi, ptrdiff_t slices,          \
                                        ptrdiff_t s_slice, fl_real *const *dw, int accumulate) {                           \
        weights_gradient(axes, r, p, columns, sums, s_xi, slices, s_slice, dw, accumulate);                                \
    }
FORM(f2, 2, 2, 3, 4)
FORM(f4, 2, 4, 3, 6)
FORM(f2_5x5, 2, 2, 5, 6)
FORM(f4_2x2, 2, 4, 2, 5)
FORM(f3_1x4, 1, 3, 4, 6)

#define TABLE(name, a, m, r, p)                                                                                            \
    {.axes = a, .tile = m, .taps = r, .points = p, .input = input_##name##_all, .weights = weights_##name,                 \
     .output = output_##name, .gradient = gradient_##name##_all, .weights_gradient = weights_gradient_##name,              \
     .half_input = {input_##name##_upper, input_##name##_lower}, .half_gradient = {gradient_##name##_upper, gradient_##name##_lower}}

const fl_winograd_ukernels FL_UK(winograd) = {.f2 = TABLE(f2, 2, 2, 3, 4),
                                              .f4 = TABLE(f4, 2, 4, 3, 6),
                                              .f2_5x5 = TABLE(f2_5x5, 2, 2, 5, 6),
                                              .f4_2x2 = TABLE(f4_2x2, 2, 4, 2, 5),
                                              .f3_1x4 = TABLE(f3_1x4, 1, 3, 4, 6)};
