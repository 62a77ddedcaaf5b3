/* What every C file shares: the element type this file is being compiled for, and how names carry it. */
#ifndef FL_TYPES_H
#define FL_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef FL_DOUBLE
typedef double fl_real;
typedef int64_t fl_int; /* the integer of the same width */
#define FL_DTYPE f64
#else
typedef float fl_real;
typedef int32_t fl_int;
#define FL_DTYPE f32
#endif

#define FL_PASTE_(a, b, c, d) a##b##_##c##d
#define FL_PASTE(a, b, c, d) FL_PASTE_(a, b, c, d)
#define FL_NAME_(name, dtype) fl_##name##_##dtype
#define FL_NAME(name, dtype) FL_NAME_(name, dtype)
#define FL_ISA_NAME_(name, isa, dtype) fl_##name##_##isa##_##dtype
#define FL_ISA_NAME(name, isa, dtype) FL_ISA_NAME_(name, isa, dtype)

#define FL(name) FL_NAME(name, FL_DTYPE)                    /* FL(conv) is fl_conv_f32 */
#define FL_UK(name) FL_ISA_NAME(name, FL_ISA, FL_DTYPE)     /* FL_UK(gemm) is fl_gemm_avx2_f32 */
#define FL_ROW(name, isa) FL_ISA_NAME(name, isa, FL_DTYPE)  /* the same, for a named instruction set */

/* One table of micro-kernels per instruction set, in the order of fl_isa_names(): slowest first.
 * FL_ISA_ROWS(gemm) lists their addresses, FL_DECLARE_ROWS(type, gemm) declares them. */
#ifdef FL_HAVE_BASELINE
#define FL_ROW_BASELINE(name) &FL_ROW(name, baseline),
#else
#define FL_ROW_BASELINE(name)
#endif
#ifdef FL_HAVE_NEON
#define FL_ROW_NEON(name) &FL_ROW(name, neon),
#else
#define FL_ROW_NEON(name)
#endif
#ifdef FL_HAVE_AVX2
#define FL_ROW_AVX2(name) &FL_ROW(name, avx2),
#else
#define FL_ROW_AVX2(name)
#endif
#ifdef FL_HAVE_AVX512
#define FL_ROW_AVX512(name) &FL_ROW(name, avx512),
#else
#define FL_ROW_AVX512(name)
#endif
#define FL_ISA_ROWS(name) FL_ROW_BASELINE(name) FL_ROW_NEON(name) FL_ROW_AVX2(name) FL_ROW_AVX512(name)
#define FL_DECLARE_ROWS(type, name) \
    extern const type FL_ROW(name, baseline), FL_ROW(name, neon), FL_ROW(name, avx2), FL_ROW(name, avx512)

enum { FL_OK = 0, FL_ENOMEM = 1 };

#define FL_MIN(a, b) ((a) < (b) ? (a) : (b))
#define FL_MAX(a, b) ((a) > (b) ? (a) : (b))

/* ceil(a / b) for a >= 0, b > 0 */
static inline ptrdiff_t fl_ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

#endif
