/* Dropout with a mask from Philox2x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). */
#include "dropout_ukernels.h"

#include "varray.h"
#ifdef __SSE2__
#include <immintrin.h>
#endif

/* 32-bit words in 64-bit lanes, whose upper halves hold anything. */
typedef uint64_t vwords __attribute__((vector_size(FL_VECTOR_BYTES)));
enum { LANES = FL_VECTOR_BYTES / sizeof(uint64_t) };
#define LOWER_HALF 0xffffffffu

/* The 64-bit products of the words: one instruction, which gcc does not find by itself. */
FL_INLINE vwords multiply(vwords a, uint32_t b) {
#if FL_VECTOR_BYTES == 64 && defined(__AVX512F__)
    return (vwords)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif FL_VECTOR_BYTES == 32 && defined(__AVX2__)
    return (vwords)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif FL_VECTOR_BYTES == 16 && defined(__SSE2__)
    return (vwords)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#else
    return (a & LOWER_HALF) * (uint64_t)b;
#endif
}

/* The first word of the encrypted blocks (low, high) */
FL_INLINE vwords philox(vwords low, vwords high, uint32_t key) {
    _Pragma("GCC unroll 10") for (int round = 0; round < 10; round++, key += 0x9E3779B9u) {
        vwords product = multiply(low, 0xD256D193u);
        low = (product >> 32) ^ high ^ (uint64_t)key;
        high = product;
    }
    return low;
}

/* The numbers u of elements first ... first + VL - 1, in units of 2^-24; they share the upper half of their index */
FL_INLINE vint uniform(uint64_t first, fl_dropout_mask mask) {
    vwords lanes, high = (first >> 32 ^ mask.high) - (vwords){0};
    for (int lane = 0; lane < LANES; lane++) lanes[lane] = (uint64_t)lane;
#ifdef FL_DOUBLE
    return (vint)((philox(first + lanes, high, mask.key) & LOWER_HALF) >> 8);
#else
    vwords even = philox(first + 2 * lanes, high, mask.key), odd = philox(first + 2 * lanes + 1, high, mask.key);
    return (vint)((vuint)((even & LOWER_HALF) | odd << 32) >> 8);
#endif
}

static void forward(ptrdiff_t n, uint64_t first, fl_dropout_mask mask, fl_real scale, const fl_real *x, fl_real *y) {
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vint dropped = (vint)(uniform(first + (uint64_t)i, mask) < (fl_int)mask.dropped);
        vstore_next(y + i, vzero_where(dropped, scale * vload_next(x + i, n - i)), n - i);
    }
}

const fl_dropout_ukernels FL_UK(dropout) = {forward};
