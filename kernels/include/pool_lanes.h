/* Loads and stores of whole and partial vectors, of pixels and of their argmax.  Only micro-kernels include this.
 *
 * `lanes` is VL, or fewer where a pixel has fewer channels than a vector has lanes; written as the constant VL, the
 * whole vector is all that is compiled.  `bytes` is the size of an argmax, 1 or 4, and is always constant.
 *
 * Why intrinsics: a partial vector that goes through memory stalls, since a load cannot be served from several smaller
 * stores; and gcc 12 converts between integers of different widths one lane at a time. */
#ifndef FL_POOL_LANES_H
#define FL_POOL_LANES_H

#include "vec.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

#ifndef FL_INLINE
#define FL_INLINE static inline __attribute__((always_inline))
#endif

FL_INLINE vint vsplat_int(ptrdiff_t x) { return (fl_int)x - (vint){0}; }

/* memcpy of fewer bytes than a vector has, without the call */
FL_INLINE void copy_few(void *to, const void *from, ptrdiff_t bytes) {
    char *t = to;
    const char *f = from;
    if (FL_VECTOR_BYTES > 32 && bytes & 32) memcpy(t, f, 32), t += 32, f += 32;
    if (FL_VECTOR_BYTES > 16 && bytes & 16) memcpy(t, f, 16), t += 16, f += 16;
    if (bytes & 8) memcpy(t, f, 8), t += 8, f += 8;
    if (bytes & 4) memcpy(t, f, 4), t += 4, f += 4;
    if (bytes & 2) memcpy(t, f, 2), t += 2, f += 2;
    if (bytes & 1) *t = *f;
}

/* Two operations that gcc 12 does lane by lane on 64-bit integers when SSE2 is all it has. */
#if defined(__SSE2__) && !defined(__SSE4_1__) && defined(FL_DOUBLE)
typedef char fl_mask_bytes __attribute__((vector_size(FL_VECTOR_BYTES)));
FL_INLINE vint both(vint a, vint b) { return (vint)((fl_mask_bytes)a & (fl_mask_bytes)b); }
FL_INLINE vint equal_taps(vint a, vint b) {
    const __m128i halves = _mm_cmpeq_epi32((__m128i)a, (__m128i)b);
    return (vint)_mm_and_si128(halves, _mm_shuffle_epi32(halves, _MM_SHUFFLE(2, 3, 0, 1)));
}
#else
FL_INLINE vint both(vint a, vint b) { return a & b; }
FL_INLINE vint equal_taps(vint a, vint b) { return a == b; }
#endif

/* beats: v > best, or v is the first NaN; once NaN is the best it stays.  pick: lanes of a where so, else of b. */
#if defined(__AVX512F__) && defined(FL_DOUBLE)
typedef __mmask8 vmask;
FL_INLINE vmask beats(vreal v, vreal best) {
    return _mm512_mask_cmp_pd_mask(_mm512_cmp_pd_mask((__m512d)best, (__m512d)best, _CMP_ORD_Q), (__m512d)v, (__m512d)best,
                                   _CMP_NLE_UQ);
}
FL_INLINE vreal pick(vmask mask, vreal a, vreal b) { return (vreal)_mm512_mask_mov_pd((__m512d)b, mask, (__m512d)a); }
FL_INLINE vint pick_int(vmask mask, vint a, vint b) { return (vint)_mm512_mask_mov_epi64((__m512i)b, mask, (__m512i)a); }
#elif defined(__AVX512F__)
typedef __mmask16 vmask;
FL_INLINE vmask beats(vreal v, vreal best) {
    return _mm512_mask_cmp_ps_mask(_mm512_cmp_ps_mask((__m512)best, (__m512)best, _CMP_ORD_Q), (__m512)v, (__m512)best,
                                   _CMP_NLE_UQ);
}
FL_INLINE vreal pick(vmask mask, vreal a, vreal b) { return (vreal)_mm512_mask_mov_ps((__m512)b, mask, (__m512)a); }
FL_INLINE vint pick_int(vmask mask, vint a, vint b) { return (vint)_mm512_mask_mov_epi32((__m512i)b, mask, (__m512i)a); }
#else
typedef vint vmask;
FL_INLINE vmask beats(vreal v, vreal best) { return both(~(v <= best), best == best); }
FL_INLINE vreal pick(vmask mask, vreal a, vreal b) { return vselect(mask, a, b); }
FL_INLINE vint pick_int(vmask mask, vint a, vint b) { return vselect_int(mask, a, b); }
#endif

#if defined(__AVX512F__)
#define LANE_MASK(lanes) ((__mmask16)((1u << (lanes)) - 1)) /* of at most 16 lanes */
#endif

FL_INLINE vreal load_lanes(const fl_real *p, ptrdiff_t lanes) { return lanes == VL ? vload(p) : vload_part(p, lanes); }

FL_INLINE void store_lanes(fl_real *p, vreal v, ptrdiff_t lanes) {
    if (lanes == VL) {
        vstore(p, v);
        return;
    }
#if defined(__AVX512F__)
    vstore_part(p, v, lanes);
#else
    copy_few(p, &v, lanes * (ptrdiff_t)sizeof *p);
#endif
}

#if defined(__SSE2__) && !defined(__AVX512F__)
FL_INLINE uint64_t load_bytes(const uint8_t *p, ptrdiff_t n) { /* n <= 8 */
    uint64_t bytes = 0;
    uint32_t four;
    uint16_t two;
    int shift = 0;
    if (n & 8) memcpy(&bytes, p, 8);
    if (n & 4) memcpy(&four, p, 4), bytes = four, shift = 32, p += 4;
    if (n & 2) memcpy(&two, p, 2), bytes |= (uint64_t)two << shift, shift += 16, p += 2;
    if (n & 1) bytes |= (uint64_t)*p << shift;
    return bytes;
}
#endif

FL_INLINE vint load_u8(const uint8_t *p, ptrdiff_t lanes) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    return (vint)_mm512_cvtepu8_epi64(_mm_maskz_loadu_epi8(LANE_MASK(lanes), p));
#elif defined(__AVX512F__)
    return (vint)_mm512_cvtepu8_epi32(lanes == VL ? _mm_loadu_si128((const __m128i *)p)
                                                  : _mm_maskz_loadu_epi8(LANE_MASK(lanes), p));
#elif defined(__AVX2__) && defined(FL_DOUBLE)
    return (vint)_mm256_cvtepu8_epi64(_mm_cvtsi64_si128((int64_t)load_bytes(p, lanes)));
#elif defined(__AVX2__)
    return (vint)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)load_bytes(p, lanes)));
#elif defined(__SSE2__) && defined(FL_DOUBLE)
    const uint64_t bytes = load_bytes(p, lanes);
    return (vint){(fl_int)(bytes & 255), (fl_int)(bytes >> 8)};
#elif defined(__SSE2__)
    const __m128i zero = _mm_setzero_si128(), bytes = _mm_cvtsi32_si128((int32_t)load_bytes(p, lanes));
    return (vint)_mm_unpacklo_epi16(_mm_unpacklo_epi8(bytes, zero), zero);
#else
    vint v = {0};
    for (ptrdiff_t lane = 0; lane < lanes; lane++) v[lane] = p[lane];
    return v;
#endif
}

FL_INLINE void store_u8(uint8_t *p, vint v, ptrdiff_t lanes) {
#if defined(__AVX512F__) && defined(FL_DOUBLE)
    _mm512_mask_cvtepi64_storeu_epi8(p, (__mmask8)LANE_MASK(lanes), (__m512i)v);
#elif defined(__AVX512F__)
    if (lanes == VL)
        _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8((__m512i)v));
    else
        _mm512_mask_cvtepi32_storeu_epi8(p, LANE_MASK(lanes), (__m512i)v);
#elif defined(__SSE2__) && !defined(FL_DOUBLE)
#ifdef __AVX2__
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
#else
    const __m128i words = _mm_packs_epi32((__m128i)v, (__m128i)v);
#endif
    const __m128i packed = _mm_packus_epi16(words, words);
    if (lanes == VL)
        memcpy(p, &packed, (size_t)VL);
    else
        copy_few(p, &packed, lanes);
#else
    for (ptrdiff_t lane = 0; lane < lanes; lane++) p[lane] = (uint8_t)v[lane];
#endif
}

/* Windows of more than 256 taps are rare, hence nothing special. */
FL_INLINE vint load_i32(const int32_t *p, ptrdiff_t lanes) {
    int32_t part[FL_VECTOR_BYTES / sizeof(fl_real)] = {0};
    vint v;
    memcpy(part, p, (size_t)lanes * sizeof *p);
    for (ptrdiff_t lane = 0; lane < VL; lane++) v[lane] = part[lane];
    return v;
}

FL_INLINE void store_i32(int32_t *p, vint v, ptrdiff_t lanes) {
    int32_t part[FL_VECTOR_BYTES / sizeof(fl_real)];
    for (ptrdiff_t lane = 0; lane < VL; lane++) part[lane] = (int32_t)v[lane];
    memcpy(p, part, (size_t)lanes * sizeof *p);
}

FL_INLINE vint load_argmax(const void *p, int bytes, ptrdiff_t lanes) {
    return bytes == 1 ? load_u8(p, lanes) : load_i32(p, lanes);
}

FL_INLINE void store_argmax(void *p, vint v, int bytes, ptrdiff_t lanes) {
    if (bytes == 1)
        store_u8(p, v, lanes);
    else
        store_i32(p, v, lanes);
}

#endif
