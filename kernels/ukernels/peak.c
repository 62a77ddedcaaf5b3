/* Nothing but multiply-adds: no loads, no stores, and more independent chains than the latency of one times the units
 * that do them. */
#include "peak_ukernels.h"
#include "vec.h"

/* As in gemm.c: what the registers hold beside two constants. */
#if FL_VECTOR_BYTES == 64 || defined(__aarch64__)
enum { CHAINS = 24 };
#else
enum { CHAINS = 12 };
#endif

#define UNROLL_CHAINS _Pragma("GCC unroll 24")

/* x := x·a + b in every lane of every chain; the sum is returned so that the work is not optimised away. */
static fl_real multiply_adds(ptrdiff_t rounds, fl_real a, fl_real b) {
    const vreal as = vsplat(a), bs = vsplat(b);
    vreal x[CHAINS], sum = {0};
    UNROLL_CHAINS for (int i = 0; i < CHAINS; i++) x[i] = vsplat((fl_real)i);
    for (ptrdiff_t round = 0; round < rounds; round++) {
        UNROLL_CHAINS for (int i = 0; i < CHAINS; i++) x[i] = x[i] * as + bs;
    }
    UNROLL_CHAINS for (int i = 0; i < CHAINS; i++) sum += x[i];
    return sum[0];
}

const fl_peak_ukernels FL_UK(peak) = {.flops = 2 * CHAINS * VL, .multiply_adds = multiply_adds};
