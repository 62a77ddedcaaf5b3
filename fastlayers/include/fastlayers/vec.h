/* Vectors, written once for every instruction set with GCC's vector extensions (gcc or clang).
 *
 * A file that includes this is compiled once for each dtype and vector width that it is to serve:
 *
 *     -DFL_VECTOR_BYTES=16                     the baseline: any x86-64 or AArch64
 *     -DFL_VECTOR_BYTES=32 -mavx2 -mfma        and 64 with -mavx512f -mavx512bw -mavx512dq -mavx512vl
 *     -DFL_DOUBLE                              fl_real is double, otherwise float
 *     -fno-math-errno -fno-trapping-math       so that loops over lanes become instructions; never -ffast-math
 *
 * vreal is a vector of VL numbers, vint one of integers of the same width; + - * / and comparisons work on them as they
 * are, and a comparison gives a mask for vselect. vec.h has loads, stores and masks, vmath.h elementary functions, varray.h
 * walks over arrays of any length and takes sums. In fastlayers itself, only files under ukernels/ include them.
 *
 * A partial vector is loaded and stored through the whole-vector code, so an element's bits never depend on where in an
 * array it stands. */
#ifndef FL_VEC_H
#define FL_VEC_H

#include <string.h>

#include "fl_types.h"

#if FL_VECTOR_BYTES == 64 && defined(__AVX512F__)
#define FL_MASKED_AVX512
#include <immintrin.h>
#elif FL_VECTOR_BYTES == 32 && defined(__AVX2__)
#define FL_MASKED_AVX2
#include <immintrin.h>
#endif

#define VL ((ptrdiff_t)(FL_VECTOR_BYTES / sizeof(fl_real))) /* lanes */

typedef fl_real vreal __attribute__((vector_size(FL_VECTOR_BYTES)));
typedef fl_int vint __attribute__((vector_size(FL_VECTOR_BYTES)));
typedef fl_real vreal_memory __attribute__((vector_size(FL_VECTOR_BYTES), aligned(sizeof(fl_real)), may_alias));

static inline vreal vload(const fl_real *p) { return *(const vreal_memory *)p; }
static inline void vstore(fl_real *p, vreal v) { *(vreal_memory *)p = v; }

/* All ones in the first n lanes, zero in the others; 0 <= n <= VL */
static inline vint vfirst_lanes(ptrdiff_t n) {
    static const fl_int numbers[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vint lanes;
    memcpy(&lanes, numbers, sizeof lanes);
    return (vint)(lanes < (fl_int)n);
}

/* The first n lanes, 0 <= n <= VL, and zero in the others: one masked instruction where there is one. */
#if defined(FL_MASKED_AVX512) && defined(FL_DOUBLE)
static inline vreal vload_part(const fl_real *p, ptrdiff_t n) { return (vreal)_mm512_maskz_loadu_pd((__mmask8)((1 << n) - 1), p); }
static inline void vstore_part(fl_real *p, vreal v, ptrdiff_t n) { _mm512_mask_storeu_pd(p, (__mmask8)((1 << n) - 1), (__m512d)v); }
#elif defined(FL_MASKED_AVX512)
static inline vreal vload_part(const fl_real *p, ptrdiff_t n) { return (vreal)_mm512_maskz_loadu_ps((__mmask16)((1 << n) - 1), p); }
static inline void vstore_part(fl_real *p, vreal v, ptrdiff_t n) { _mm512_mask_storeu_ps(p, (__mmask16)((1 << n) - 1), (__m512)v); }
#elif defined(FL_MASKED_AVX2) && defined(FL_DOUBLE)
static inline vreal vload_part(const fl_real *p, ptrdiff_t n) { return (vreal)_mm256_maskload_pd(p, (__m256i)vfirst_lanes(n)); }
static inline void vstore_part(fl_real *p, vreal v, ptrdiff_t n) { _mm256_maskstore_pd(p, (__m256i)vfirst_lanes(n), (__m256d)v); }
#elif defined(FL_MASKED_AVX2)
static inline vreal vload_part(const fl_real *p, ptrdiff_t n) { return (vreal)_mm256_maskload_ps(p, (__m256i)vfirst_lanes(n)); }
static inline void vstore_part(fl_real *p, vreal v, ptrdiff_t n) { _mm256_maskstore_ps(p, (__m256i)vfirst_lanes(n), (__m256)v); }
#else
static inline vreal vload_part(const fl_real *p, ptrdiff_t n) {
    vreal v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
static inline void vstore_part(fl_real *p, vreal v, ptrdiff_t n) { memcpy(p, &v, (size_t)n * sizeof *p); }
#endif

/* v to an aligned p past the caches, where there is such an instruction: for more than they hold.  vstream_end after the last. */
#if defined(FL_MASKED_AVX512)
static inline void vstream(fl_real *p, vreal v) { _mm512_stream_si512((void *)p, (__m512i)v); }
#elif defined(FL_MASKED_AVX2)
static inline void vstream(fl_real *p, vreal v) { _mm256_stream_si256((void *)p, (__m256i)v); }
#else
static inline void vstream(fl_real *p, vreal v) { vstore(p, v); }
#endif
#if defined(FL_MASKED_AVX512) || defined(FL_MASKED_AVX2)
static inline void vstream_end(void) { _mm_sfence(); }
#else
static inline void vstream_end(void) {}
#endif

static inline vreal vsplat(fl_real x) { return x - (vreal){0}; }

/* Lanes of a where the mask is all ones, of b where it is zero. */
static inline vreal vselect(vint mask, vreal a, vreal b) { return (vreal)(((vint)a & mask) | ((vint)b & ~mask)); }
static inline vint vselect_int(vint mask, vint a, vint b) { return (a & mask) | (b & ~mask); }

#endif
