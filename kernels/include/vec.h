/* Vectors, written once for every instruction set with GCC's vector extensions.
 *
 * FL_VECTOR_BYTES (16, 32 or 64) comes from the build; only files under ukernels/ include this.
 * A partial vector is loaded and stored through the whole-vector code, so an element's bits never depend on where in an
 * array it stands. */
#ifndef FL_VEC_H
#define FL_VEC_H

#include <string.h>

#include "fl_types.h"

#define VL ((ptrdiff_t)(FL_VECTOR_BYTES / sizeof(fl_real))) /* lanes */

typedef fl_real vreal __attribute__((vector_size(FL_VECTOR_BYTES)));
typedef fl_int vint __attribute__((vector_size(FL_VECTOR_BYTES)));
typedef fl_real vreal_memory __attribute__((vector_size(FL_VECTOR_BYTES), aligned(sizeof(fl_real)), may_alias));

static inline vreal vload(const fl_real *p) { return *(const vreal_memory *)p; }
static inline void vstore(fl_real *p, vreal v) { *(vreal_memory *)p = v; }

static inline vreal vload_part(const fl_real *p, ptrdiff_t n) { /* the first n lanes; zero in the others */
    vreal v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
}
static inline void vstore_part(fl_real *p, vreal v, ptrdiff_t n) { memcpy(p, &v, (size_t)n * sizeof *p); }

static inline vreal vsplat(fl_real x) { return x - (vreal){0}; }

/* Lanes of a where the mask is all ones, of b where it is zero. */
static inline vreal vselect(vint mask, vreal a, vreal b) { return (vreal)(((vint)a & mask) | ((vint)b & ~mask)); }
static inline vint vselect_int(vint mask, vint a, vint b) { return (a & mask) | (b & ~mask); }

#endif
