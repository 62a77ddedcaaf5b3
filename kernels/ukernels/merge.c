/* Element-wise functions of two arrays. */
#include "merge_ukernels.h"

#include "varray.h"

static void add(ptrdiff_t n, const fl_real *a, const fl_real *b, fl_real *y) {
    for (ptrdiff_t i = 0; i < n; i += VL) vstore_next(y + i, vload_next(a + i, n - i) + vload_next(b + i, n - i), n - i);
}

static void multiply(ptrdiff_t n, const fl_real *a, const fl_real *b, fl_real *y) {
    for (ptrdiff_t i = 0; i < n; i += VL) vstore_next(y + i, vload_next(a + i, n - i) * vload_next(b + i, n - i), n - i);
}

const fl_merge_ukernels FL_UK(merge) = {.add = add, .multiply = multiply};
