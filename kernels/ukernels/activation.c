/* Element-wise activations. */
#include "activation_ukernels.h"

#include "varray.h"

typedef vreal vforward(vreal x, fl_real alpha);
typedef vreal vbackward(vreal dy, vreal r, fl_real alpha);

FL_INLINE void map(ptrdiff_t n, const fl_real *x, fl_real *y, fl_real alpha, vforward *f) {
    for (ptrdiff_t i = 0; i < n; i += VL) vstore_next(y + i, f(vload_next(x + i, n - i), alpha), n - i);
}

FL_INLINE void map_backward(ptrdiff_t n, const fl_real *dy, const fl_real *r, fl_real *dx, fl_real alpha, vbackward *f) {
    for (ptrdiff_t i = 0; i < n; i += VL)
        vstore_next(dx + i, f(vload_next(dy + i, n - i), vload_next(r + i, n - i), alpha), n - i);
}

FL_INLINE vreal linear(vreal x, fl_real alpha) { (void)alpha; return x; }
FL_INLINE vreal linear_backward(vreal dy, vreal y, fl_real alpha) { (void)y, (void)alpha; return dy; }

FL_INLINE vreal relu(vreal x, fl_real alpha) { (void)alpha; return vzero_where((vint)(x <= 0), x); }
FL_INLINE vreal relu_backward(vreal dy, vreal y, fl_real alpha) { (void)alpha; return vzero_where((vint)(y <= 0), dy); }

FL_INLINE vreal leaky_relu(vreal x, fl_real alpha) { return vselect((vint)(x <= 0), alpha * x, x); }
FL_INLINE vreal leaky_relu_backward(vreal dy, vreal y, fl_real alpha) { return vselect((vint)(y <= 0), alpha * dy, dy); }

FL_INLINE vreal elu(vreal x, fl_real alpha) { return vselect((vint)(x <= 0), alpha * vexpm1(x), x); }
FL_INLINE vreal elu_backward(vreal dy, vreal y, fl_real alpha) { return vselect((vint)(y <= 0), dy * (y + alpha), dy); }

FL_INLINE vreal sigmoid(vreal x, fl_real alpha) { (void)alpha; return vsigmoid(x); }
FL_INLINE vreal sigmoid_backward(vreal dy, vreal y, fl_real alpha) { (void)alpha; return dy * (y * (1 - y)); }

FL_INLINE vreal hyperbolic_tangent(vreal x, fl_real alpha) { (void)alpha; return vtanh(x); }
FL_INLINE vreal hyperbolic_tangent_backward(vreal dy, vreal y, fl_real alpha) { (void)alpha; return dy * ((1 - y) * (1 + y)); }

FL_INLINE vreal positive_part(vreal x) { return vmax(vsplat(0), x); }

FL_INLINE vreal softplus(vreal x, fl_real alpha) { /* max(x, 0) + log(1 + exp(-|x|)) */
    (void)alpha;
    return positive_part(x) + vlog1p(vexp(-vabs(x)));
}
FL_INLINE vreal softplus_backward(vreal dy, vreal y, fl_real alpha) {
    (void)alpha;
    return dy * -vexpm1(vat_most(-y, FL_EXPM1_HIGH));
}

/* gelu and silu are x F(x) with F(-x) = 1 - F(x).  With a = |x| that is max(x, 0) - a F(-a), accurate on both sides; the
 * slope is 1 - d for x >= 0 and d for x < 0, where d = F(-a) - a F'(a). */
FL_INLINE vreal times_slope(vreal dy, vreal x, vreal d) { return dy * vselect((vint)(x >= 0), 1 - d, d); }

FL_INLINE vreal gelu(vreal x, fl_real alpha) { /* F = Phi */
    (void)alpha;
    vreal a = vat_most(vabs(x), FL_CDF_HIGH);
    vnormal tail = vnormal_tail(a);
    return positive_part(x) - a * tail.ratio * tail.raised_gauss * (FL_TAIL_SCALE * FL_LOWER);
}
FL_INLINE vreal gelu_backward(vreal dy, vreal x, fl_real alpha) {
    (void)alpha;
    vreal a = vat_most(vabs(x), FL_CDF_HIGH);
    vnormal tail = vnormal_tail(a);
    return times_slope(dy, x, (tail.ratio - a * (FL_INV_SQRT_2PI / FL_TAIL_SCALE)) * tail.raised_gauss * (FL_TAIL_SCALE * FL_LOWER));
}

FL_INLINE vreal silu(vreal x, fl_real alpha) { /* F(-a) = e / (1 + e), e = exp(-a) */
    (void)alpha;
    vreal a = vat_most(vabs(x), -FL_EXP_LOW), raised_e = vexp_raised(-a);
    return positive_part(x) - a * raised_e / (1 + raised_e * FL_LOWER) * FL_LOWER;
}
FL_INLINE vreal silu_backward(vreal dy, vreal x, fl_real alpha) { /* d = e (1 + e - a) / (1 + e)^2 */
    (void)alpha;
    vreal a = vat_most(vabs(x), -FL_EXP_LOW), e = vexp_raised(-a) * FL_LOWER;
    return times_slope(dy, x, e * (1 + e - a) / ((1 + e) * (1 + e)));
}

#define LOOPS(name)                                                                                  \
    static void name##_n(ptrdiff_t n, const fl_real *x, fl_real *y, fl_real alpha) {                 \
        map(n, x, y, alpha, name);                                                                   \
    }                                                                                                \
    static void name##_backward_n(ptrdiff_t n, const fl_real *dy, const fl_real *r, fl_real *dx, fl_real alpha) { \
        map_backward(n, dy, r, dx, alpha, name##_backward);                                          \
    }
LOOPS(linear)
LOOPS(relu)
LOOPS(leaky_relu)
LOOPS(elu)
LOOPS(gelu)
LOOPS(silu)
LOOPS(sigmoid)
LOOPS(hyperbolic_tangent)
LOOPS(softplus)

#define ROWS(suffix)                                                                                                \
    {                                                                                                               \
        [FL_LINEAR] = linear##suffix, [FL_RELU] = relu##suffix, [FL_LEAKY_RELU] = leaky_relu##suffix,               \
        [FL_ELU] = elu##suffix, [FL_GELU] = gelu##suffix, [FL_SILU] = silu##suffix, [FL_SIGMOID] = sigmoid##suffix, \
        [FL_TANH] = hyperbolic_tangent##suffix, [FL_SOFTPLUS] = softplus##suffix                                    \
    }

const fl_activation_ukernels FL_UK(activation) = {.forward = ROWS(_n), .backward = ROWS(_backward_n)};
