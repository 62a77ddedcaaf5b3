/* The perfect shuffle of two vectors, for micro-kernels.
 *
 * SHUFFLE(a, b, ints, INTERLEAVE(LANES, 0)) is a0 b0 a1 b1 ..., INTERLEAVE(LANES, LANES / 2) the rest of it. */
#ifndef FL_INTERLEAVE_H
#define FL_INTERLEAVE_H

#include "vec.h"

/* Lanes k, n + k, k + 1, n + k + 1, ... of two vectors of n lanes: their interleaving, from lane k on */
#define INTERLEAVE_2(n, k) k, n + k
#define INTERLEAVE_4(n, k) INTERLEAVE_2(n, k), INTERLEAVE_2(n, k + 1)
#define INTERLEAVE_8(n, k) INTERLEAVE_4(n, k), INTERLEAVE_4(n, k + 2)
#define INTERLEAVE_16(n, k) INTERLEAVE_8(n, k), INTERLEAVE_8(n, k + 4)

#ifdef FL_DOUBLE
#define LANES (FL_VECTOR_BYTES / 8)
#else
#define LANES (FL_VECTOR_BYTES / 4)
#endif
#if LANES == 2
#define INTERLEAVE INTERLEAVE_2
#elif LANES == 4
#define INTERLEAVE INTERLEAVE_4
#elif LANES == 8
#define INTERLEAVE INTERLEAVE_8
#else
#define INTERLEAVE INTERLEAVE_16
#endif

#ifdef __clang__
#define SHUFFLE(a, b, ints, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ints, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

#endif
