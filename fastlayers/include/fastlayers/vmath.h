/* Elementary functions on vectors, without tables or branches, for every dtype and instruction set.
 *
 * Mind the ranges: vexp(x) is for x <= 0, vexpm1(x) for x <= FL_EXPM1_HIGH, vlog(x) for positive, finite, normal x, vlog1p(x)
 * for -1 < x < infinity; vsigmoid, vtanh, vsqrt, vabs, vmax, vmin for all.
 *
 * NaN gives NaN, infinities and denormal results are right.  Measured errors in both dtypes: exp, log, log1p 1.1 ulp, expm1,
 * sigmoid and tanh 2.5 ulp, the normal distribution's tail about 5 ulp, however far out.
 * The polynomials are minimax fits (Remez in 50 digits, coefficients then rounded); "fit" is their own relative error. */
#ifndef FL_VMATH_H
#define FL_VMATH_H

#include "vec.h"

#define FL_INLINE static inline __attribute__((always_inline))

#ifdef FL_DOUBLE
typedef uint64_t fl_uint;
#define FL_MANTISSA_BITS 52
#define FL_BIAS 1023
#define FL_ROUNDER 0x1.8p52                  /* x + ROUNDER has the nearest whole number in its low bits */
#define FL_SQRT_HALF_BITS 0x3fe6a09e667f3bcd /* of sqrt(1/2) */
#define FL_LN2_HI 0x1.62e42feep-1            /* 32 bits, so that n * LN2_HI is exact */
#define FL_LN2_LO 0x1.a39ef35793c76p-33
#define FL_EXP_LOW (-760.0) /* even 760 exp(-760) is 0 */
#define FL_RAISE 512        /* 2^RAISE exp(EXP_LOW) is a normal number */
#define FL_LOWER 0x1p-512
#define FL_EXPM1_LOW (-40.0)
#define FL_EXPM1_HIGH 709.0
#define FL_SQRT __builtin_sqrt
#define FL_FMA __builtin_fma
#define FL_CDF_HIGH 39.0 /* x Phi(-x) is 0 */
#else
typedef uint32_t fl_uint;
#define FL_MANTISSA_BITS 23
#define FL_BIAS 127
#define FL_ROUNDER 0x1.8p23f
#define FL_SQRT_HALF_BITS 0x3f3504f3
#define FL_LN2_HI 0x1.62e4p-1f /* 15 bits */
#define FL_LN2_LO 0x1.7f7d1cp-20f
#define FL_EXP_LOW (-110.0f)
#define FL_RAISE 64
#define FL_LOWER 0x1p-64f
#define FL_EXPM1_LOW (-20.0f)
#define FL_EXPM1_HIGH 88.0f
#define FL_SQRT __builtin_sqrtf
#define FL_FMA __builtin_fmaf
#define FL_CDF_HIGH 14.6f
#endif

typedef fl_uint vuint __attribute__((vector_size(FL_VECTOR_BYTES)));

#define FL_ONE_BITS ((fl_uint)FL_BIAS << FL_MANTISSA_BITS)
#define FL_SIGN_BIT ((fl_uint)1 << (8 * sizeof(fl_uint) - 1))
#define FL_LOG2E ((fl_real)1.44269504088896340736)
#define FL_INV_SQRT_2PI ((fl_real)0.398942280401432677940)

FL_INLINE vreal vabs(vreal x) { return (vreal)((vuint)x & ~FL_SIGN_BIT); }
FL_INLINE vreal vcopysign(vreal x, vreal sign) { return (vreal)(((vuint)x & ~FL_SIGN_BIT) | ((vuint)sign & FL_SIGN_BIT)); }

/* b where either is NaN: so are x86's instructions, which gcc does not find */
#if defined(FL_MASKED_AVX512) && defined(FL_DOUBLE)
FL_INLINE vreal vmax(vreal a, vreal b) { return (vreal)_mm512_max_pd((__m512d)a, (__m512d)b); }
FL_INLINE vreal vmin(vreal a, vreal b) { return (vreal)_mm512_min_pd((__m512d)a, (__m512d)b); }
#elif defined(FL_MASKED_AVX512)
FL_INLINE vreal vmax(vreal a, vreal b) { return (vreal)_mm512_max_ps((__m512)a, (__m512)b); }
FL_INLINE vreal vmin(vreal a, vreal b) { return (vreal)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(FL_MASKED_AVX2) && defined(FL_DOUBLE)
FL_INLINE vreal vmax(vreal a, vreal b) { return (vreal)_mm256_max_pd((__m256d)a, (__m256d)b); }
FL_INLINE vreal vmin(vreal a, vreal b) { return (vreal)_mm256_min_pd((__m256d)a, (__m256d)b); }
#elif defined(FL_MASKED_AVX2)
FL_INLINE vreal vmax(vreal a, vreal b) { return (vreal)_mm256_max_ps((__m256)a, (__m256)b); }
FL_INLINE vreal vmin(vreal a, vreal b) { return (vreal)_mm256_min_ps((__m256)a, (__m256)b); }
#else
FL_INLINE vreal vmax(vreal a, vreal b) { return vselect((vint)(a > b), a, b); }
FL_INLINE vreal vmin(vreal a, vreal b) { return vselect((vint)(a < b), a, b); }
#endif
FL_INLINE vreal vat_least(vreal x, fl_real bound) { return vmax(vsplat(bound), x); }
FL_INLINE vreal vat_most(vreal x, fl_real bound) { return vmin(vsplat(bound), x); }

FL_INLINE vreal vsqrt(vreal x) { /* gcc makes one instruction of the loop */
    vreal root;
    for (ptrdiff_t lane = 0; lane < VL; lane++) root[lane] = FL_SQRT(x[lane]);
    return root;
}

/* sum of c[k] x^k, the even and the odd powers as two independent chains */
FL_INLINE vreal vpoly(vreal x, const fl_real *c, int degree) {
    int even_top = degree - degree % 2, odd_top = degree - 1 + degree % 2;
    vreal z = x * x, even = vsplat(c[even_top]), odd = vsplat(c[odd_top]);
    _Pragma("GCC unroll 16") for (int k = even_top - 2; k >= 0; k -= 2) even = even * z + c[k];
    _Pragma("GCC unroll 16") for (int k = odd_top - 2; k >= 1; k -= 2) odd = odd * z + c[k];
    return odd * x + even;
}

/* ---- exp: x = n ln 2 + r, |r| <= ln(2)/2; exp(r) - 1 = r + r^2 q(r) ---- */

#ifdef FL_DOUBLE
#define FL_EXP_DEGREE 9 /* fit 2^-55 of exp(r) - 1 */
static const fl_real fl_exp_q[] = {
    0.5, 0.1666666666666668, 0.04166666666662224, 0.008333333333317016, 0.0013888888919693137, 0.00019841269901840357,
    2.480151725826704e-05, 2.7557225385400707e-06, 2.762190743134798e-07, 2.5116420280162447e-08};
#else
#define FL_EXP_DEGREE 4 /* fit 2^-26 of exp(r) - 1 */
static const fl_real fl_exp_q[] = {0.5f, 0.16666539013385773f, 0.041666608303785324f, 0.0083670848980546f,
                                   0.0013918495969846845f};
#endif

typedef struct {
    vuint n; /* the whole number n in the low bits, up to the mantissa's */
    vreal expm1_r;
} vexp_parts;

/* exp x = 2^n (1 + expm1_r) */
FL_INLINE vexp_parts vexp_reduce(vreal x) {
    vreal shifted = x * FL_LOG2E + FL_ROUNDER, n = shifted - FL_ROUNDER;
    vreal r = (x - n * FL_LN2_HI) - n * FL_LN2_LO;
    return (vexp_parts){(vuint)shifted, r + r * r * vpoly(r, fl_exp_q, FL_EXP_DEGREE)};
}

/* 2^(n + by), which must be a normal number */
FL_INLINE vreal vpow2(vuint n, int by) { return (vreal)((n << FL_MANTISSA_BITS) + ((fl_uint)(FL_BIAS + by) << FL_MANTISSA_BITS)); }

/* 2^RAISE exp x, EXP_LOW <= x <= 0: large enough that no bits are lost before the last multiplication, by LOWER */
FL_INLINE vreal vexp_raised(vreal x) {
    vexp_parts e = vexp_reduce(x);
    vreal scale = vpow2(e.n, FL_RAISE);
    return scale * e.expm1_r + scale;
}

/* exp x for x <= 0 */
FL_INLINE vreal vexp(vreal x) { return vexp_raised(vat_least(x, FL_EXP_LOW)) * FL_LOWER; }

/* exp(x) - 1 for x <= EXPM1_HIGH */
FL_INLINE vreal vexpm1(vreal x) {
    vexp_parts e = vexp_reduce(vat_least(x, FL_EXPM1_LOW));
    vreal scale = vpow2(e.n, 0);
    return scale * e.expm1_r + (scale - 1);
}

/* ---- log: u = 2^k m, m in [sqrt(1/2), sqrt(2)), f = m - 1, s = f / (2 + f): log m = 2s + s R(s^2) ---- */

#ifdef FL_DOUBLE
#define FL_LOG_DEGREE 6 /* fit 2^-59 */
static const fl_real fl_log_r[] = {0.6666666666666735,  0.3999999999940861,  0.28571428743962246, 0.22222198391880807,
                                   0.1818357466455367,  0.15313764587450754, 0.14799010734744875};
#else
#define FL_LOG_DEGREE 2 /* fit 2^-30 */
static const fl_real fl_log_r[] = {0.6666677594184875f, 0.39977550506591797f, 0.2987227439880371f};
#endif

/* log(u + c) for a positive, finite, normal u and |c| <= ulp(u); NaN is not preserved */
FL_INLINE vreal vlog_sum(vreal u, vreal c) {
    vuint bits = (vuint)u + (FL_ONE_BITS - (fl_uint)FL_SQRT_HALF_BITS);
    vuint biased_k = bits >> FL_MANTISSA_BITS;
    vreal k = (vreal)(biased_k + (vuint)vsplat(FL_ROUNDER)) - (FL_ROUNDER + FL_BIAS);
    vreal pow2_minus_k = (vreal)((2 * FL_BIAS - biased_k) << FL_MANTISSA_BITS);
    vreal m = (vreal)((bits & (((fl_uint)1 << FL_MANTISSA_BITS) - 1)) + (fl_uint)FL_SQRT_HALF_BITS);
    vreal f = m - 1, s = f / (2 + f), z = s * s, half_square = (fl_real)0.5 * f * f;
    vreal r = s * (half_square + z * vpoly(z, fl_log_r, FL_LOG_DEGREE));
    vreal low = c * pow2_minus_k * (1 - f) + k * FL_LN2_LO; /* c / m = c (1 - f) as far as it matters */
    return k * FL_LN2_HI - ((half_square - (r + low)) - f);
}

/* log x for positive, finite, normal x; NaN gives NaN */
FL_INLINE vreal vlog(vreal x) { return vselect((vint)(x == x), vlog_sum(x, vsplat(0)), x); }

/* log(1 + x) for -1 < x < infinity */
FL_INLINE vreal vlog1p(vreal x) {
    vreal u = 1 + x, x_in_u = u - 1;
    vreal c = (1 - (u - x_in_u)) + (x - x_in_u); /* u + c = 1 + x exactly */
    return vselect((vint)(x == x), vlog_sum(u, c), x);
}

/* ---- sigmoid, tanh ---- */

FL_INLINE vreal vsigmoid(vreal x) { /* 1 / (1 + exp(-x)), for x < 0 as exp(x) / (1 + exp(x)) */
    vreal e = vexp(-vabs(x));
    return vselect((vint)(x < 0), e, vsplat(1)) / (1 + e);
}

FL_INLINE vreal vtanh(vreal x) { /* -t / (2 + t), t = exp(-2|x|) - 1 */
    vreal t = vexpm1(-2 * vabs(x));
    return vcopysign(t / (2 + t), x);
}

/* ---- normal distribution: Phi(-a) = TAIL_SCALE exp(-a^2/2) P(a) / Q(a) for a >= 0 ---- */

#ifdef FL_DOUBLE
#define FL_TAIL_SCALE 0.39894228040152385
#define FL_TAIL_DEGREE 10 /* of P, one less than of Q; fit 2^-56 for a <= CDF_HIGH */
static const fl_real fl_tail_p[] = {
    2229996.004945413, 3692580.2147437865, 3031120.4634741195, 1593811.6003038173, 588953.6729360411, 159088.23310951862,
    31770.48436979447, 4637.562994205047, 475.36606318268775, 31.116716327986563, 1.0};
static const fl_real fl_tail_q[] = {
    1779279.382998422, 4365912.291920159, 5012338.539783501, 3561208.906844868, 1743936.124975158, 619783.4123158756,
    163663.56319137578, 32243.85041690913, 4668.679710897681, 476.3660631771625, 31.116716328046795, 1.0};
#define FL_GAUSS_DEGREE 11 /* of exp(-t/2): exp's coefficients times powers of -1/2 */
static const fl_real fl_gauss[] = {
    1.0, -0.5, 0.125, -0.02083333333333335, 0.00260416666666389, -0.00026041666666615676, 2.1701388937020527e-05,
    -1.5500992110812779e-06, 9.688092679010563e-08, -5.3822705830860756e-09, 2.697451897592576e-10, -1.226387708992307e-11};
#else
#define FL_TAIL_SCALE 0.3989468514919281f
#define FL_TAIL_DEGREE 4 /* fit 2^-26 */
static const fl_real fl_tail_p[] = {
    121.3424301147461f, 106.39860534667969f, 44.49076843261719f, 9.868413925170898f, 1.0f};
static const fl_real fl_tail_q[] = {
    96.818359375f, 162.1446990966797f, 116.46200561523438f, 45.47686767578125f, 9.869146347045898f, 1.0f};
#define FL_GAUSS_DEGREE 6
static const fl_real fl_gauss[] = {
    1.0f, -0.5f, 0.125f, -0.020833173766732216f, 0.0026041630189865828f, -0.00026147140306420624f, 2.1747649952885695e-05f};
#endif

typedef struct {
    vreal raised_gauss; /* 2^RAISE exp(-a^2/2) */
    vreal ratio;        /* Phi(-a) / (TAIL_SCALE exp(-a^2/2)) */
} vnormal;

/* a^2 + b, rounded once or nearly so */
FL_INLINE vreal vsquare_plus(vreal a, vreal b) {
#if defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)
    vreal sum;
    for (ptrdiff_t lane = 0; lane < VL; lane++) sum[lane] = FL_FMA(a[lane], a[lane], b[lane]); /* as for vsqrt */
    return sum;
#else
    vreal half = (vreal)((vuint)a >> (FL_MANTISSA_BITS / 2 + 1) << (FL_MANTISSA_BITS / 2 + 1));
    return (half * half + b) + (a - half) * (a + half);
#endif
}

/* 2^RAISE exp(-a^2/2), where -a^2/2 = n ln 2 - t/2, |t| <= ln 2: t is taken from a, for a^2 would be rounded too much */
FL_INLINE vreal vgauss_raised(vreal a) {
    vreal shifted = a * a * (FL_LOG2E / -2) + FL_ROUNDER, n = shifted - FL_ROUNDER;
    vreal t = vsquare_plus(a, n * (2 * FL_LN2_HI)) + n * (2 * FL_LN2_LO);
    return (vreal)((vuint)vpoly(t, fl_gauss, FL_GAUSS_DEGREE) + (((vuint)shifted + FL_RAISE) << FL_MANTISSA_BITS));
}

/* 0 <= a <= CDF_HIGH */
FL_INLINE vnormal vnormal_tail(vreal a) {
    return (vnormal){vgauss_raised(a), vpoly(a, fl_tail_p, FL_TAIL_DEGREE) / vpoly(a, fl_tail_q, FL_TAIL_DEGREE + 1)};
}

#endif
