/* Walking over arrays of any length: whole and partial vectors through the same code, and sums in double. */
#ifndef FL_VARRAY_H
#define FL_VARRAY_H

#include "vmath.h"

/* The next vector of an array with n > 0 elements left; zero in the lanes beyond. */
FL_INLINE vreal vload_next(const fl_real *p, ptrdiff_t n) { return n >= VL ? vload(p) : vload_part(p, n); }
FL_INLINE void vstore_next(fl_real *p, vreal v, ptrdiff_t n) {
    if (n >= VL) vstore(p, v);
    else vstore_part(p, v, n);
}

FL_INLINE vreal vzero_where(vint mask, vreal x) { return (vreal)((vint)x & ~mask); }

/* v with zero in the lanes from n on */
FL_INLINE vreal vkeep(vreal v, ptrdiff_t n) { return n >= VL ? v : vload_part((const fl_real *)&v, n); }

/* A sum of vectors, in double: as many vectors of doubles as one of fl_real makes. */
enum { FL_WIDE = sizeof(double) / sizeof(fl_real) };
typedef double vdouble __attribute__((vector_size(FL_VECTOR_BYTES)));
typedef fl_real vnarrow __attribute__((vector_size(FL_VECTOR_BYTES / FL_WIDE)));
typedef struct {
    vdouble part[FL_WIDE];
} vwide;

FL_INLINE vwide vwiden(vreal v) {
    vwide wide;
    vnarrow narrow[FL_WIDE];
    memcpy(narrow, &v, sizeof v);
    for (int i = 0; i < FL_WIDE; i++) wide.part[i] = __builtin_convertvector(narrow[i], vdouble);
    return wide;
}
FL_INLINE void vadd(vwide *sum, vreal v) {
    vwide w = vwiden(v);
    for (int i = 0; i < FL_WIDE; i++) sum->part[i] += w.part[i];
}
FL_INLINE void vadd_product(vwide *sum, vreal a, vreal b) {
    vwide wide_a = vwiden(a), wide_b = vwiden(b);
    for (int i = 0; i < FL_WIDE; i++) sum->part[i] += wide_a.part[i] * wide_b.part[i];
}
FL_INLINE double vtotal(vwide sum) {
    double total = 0;
    for (int i = 1; i < FL_WIDE; i++) sum.part[0] += sum.part[i];
    for (size_t lane = 0; lane < FL_VECTOR_BYTES / sizeof total; lane++) total += sum.part[0][lane];
    return total;
}

/* ---- rows ---- */

/* The largest of n > 0 elements; one of them, or NaN, where there are NaNs. */
FL_INLINE fl_real row_maximum(ptrdiff_t n, const fl_real *x) {
    fl_real largest = x[0];
    if (n < VL) {
        for (ptrdiff_t i = 1; i < n; i++) largest = x[i] > largest ? x[i] : largest;
        return largest;
    }
    vreal best = vload(x);
    for (ptrdiff_t i = VL; i < n; i += VL) {
        vreal v = vload(x + FL_MIN(i, n - VL)); /* the last vector overlaps the one before */
        best = vselect((vint)(v > best), v, best);
    }
    for (ptrdiff_t lane = 0; lane < VL; lane++) largest = best[lane] > largest ? best[lane] : largest;
    return largest;
}

/* y = exp(x - shift); returns the sum of y */
FL_INLINE double row_exp(ptrdiff_t n, const fl_real *x, fl_real shift, fl_real *y) {
    vwide sum = {0};
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal e = vexp(vload_next(x + i, n - i) - shift);
        vstore_next(y + i, e, n - i);
        vadd(&sum, vkeep(e, n - i));
    }
    return vtotal(sum);
}

FL_INLINE void row_scale(ptrdiff_t n, fl_real factor, fl_real *y) {
    for (ptrdiff_t i = 0; i < n; i += VL) vstore_next(y + i, factor * vload_next(y + i, n - i), n - i);
}

#endif
