/* A matrix product with any strides: drivers, one per dtype. */
#ifndef FL_GEMM_H
#define FL_GEMM_H

#include <stddef.h>

/* C := beta C + A B      A (m, k), B (k, n), C (m, n)
 *
 * Strides count elements, from row to row and from column to column; any are allowed for A and B, those of C must give
 * each element a place of its own.  With beta = 0, C is only written.  Pointers are untyped so that callers handle both
 * dtypes alike. */
typedef struct {
    ptrdiff_t m, n, k;
    const void *a;
    ptrdiff_t rs_a, cs_a;
    const void *b;
    ptrdiff_t rs_b, cs_b;
    double beta;
    void *c;
    ptrdiff_t rs_c, cs_c;
    int isa, threads;
} fl_gemm;

int fl_gemm_f32(const fl_gemm *), fl_gemm_f64(const fl_gemm *); /* FL_OK or FL_ENOMEM */

#endif
