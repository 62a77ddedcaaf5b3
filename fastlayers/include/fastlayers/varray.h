/* Walking over arrays of any length: whole and partial vectors through the same code, and sums in double.
 *
 *     for (ptrdiff_t i = 0; i < n; i += VL) vstore_next(y + i, vtanh(vload_next(x + i, n - i)), n - i);
 *
 * Names that begin with fl_ or FL_ and are not in this comment, in vec.h's or in vmath.h's may change with the version. */
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
FL_INLINE vreal vkeep(vreal v, ptrdiff_t n) { return n >= VL ? v : (vreal)((vint)v & vfirst_lanes(n)); }

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
    typedef double pair __attribute__((vector_size(16)));
    pair pairs[sizeof sum / sizeof(pair)];
    memcpy(pairs, &sum, sizeof sum);
    for (size_t half = sizeof sum / sizeof(pair) / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++) pairs[i] += pairs[i + half];
    return pairs[0][0] + pairs[0][1];
}

/* ---- rows ---- */

enum { FL_RUN = 8 }; /* vectors that are added in fl_real before their sum goes into one in double */

/* The largest of n > 0 elements; where there are NaNs, NaN or any of the others. */
FL_INLINE fl_real row_maximum(ptrdiff_t n, const fl_real *x) {
    typedef fl_real part __attribute__((vector_size(16)));
    typedef fl_int part_mask __attribute__((vector_size(16)));
    vreal best = vsplat(x[0]);
    for (ptrdiff_t i = 0; i < n; i += VL) {
        vreal v = vload_next(x + i, n - i);
        best = vmax(n - i >= VL ? v : vselect(vfirst_lanes(n - i), v, best), best);
    }
    part parts[sizeof best / sizeof(part)];
    memcpy(parts, &best, sizeof best);
    for (size_t half = sizeof best / sizeof(part) / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++) {
            const part_mask more = parts[i + half] > parts[i];
            parts[i] = (part)(((part_mask)parts[i + half] & more) | ((part_mask)parts[i] & ~more));
        }
    fl_real largest = parts[0][0];
    for (size_t lane = 1; lane < sizeof(part) / sizeof(fl_real); lane++)
        largest = parts[0][lane] > largest ? parts[0][lane] : largest;
    return largest;
}

/* y = exp(x - shift); returns the sum of y */
FL_INLINE double row_exp(ptrdiff_t n, const fl_real *x, fl_real shift, fl_real *y) {
    vwide sum = {0};
    for (ptrdiff_t begin = 0; begin < n; begin += FL_RUN * VL) {
        vreal run = {0};
        for (ptrdiff_t i = begin; i < FL_MIN(begin + FL_RUN * VL, n); i += VL) {
            vreal e = vexp(vload_next(x + i, n - i) - shift);
            vstore_next(y + i, e, n - i);
            run += vkeep(e, n - i);
        }
        vadd(&sum, run);
    }
    return vtotal(sum);
}

/* sum of a b */
FL_INLINE double row_dot(ptrdiff_t n, const fl_real *a, const fl_real *b) {
    vwide sum = {0};
    for (ptrdiff_t begin = 0; begin < n; begin += FL_RUN * VL) {
        vreal run = {0};
        for (ptrdiff_t i = begin; i < FL_MIN(begin + FL_RUN * VL, n); i += VL)
            run += vload_next(a + i, n - i) * vload_next(b + i, n - i);
        vadd(&sum, run);
    }
    return vtotal(sum);
}

FL_INLINE void row_scale(ptrdiff_t n, fl_real factor, fl_real *y) {
    for (ptrdiff_t i = 0; i < n; i += VL) vstore_next(y + i, factor * vload_next(y + i, n - i), n - i);
}

#endif
