/* Packing of a matrix into the column panels that the register tile reads. */
#include "panels.h"

#include <string.h>

/* Rows of a transposed block: small enough that the block of the panel stays in L1 while it is written column-wise. */
enum { TRANSPOSE_ROWS = 64 };

void FL(pack_panel)(ptrdiff_t k, ptrdiff_t n, const fl_real *from, ptrdiff_t k_step, ptrdiff_t n_step, fl_real *to,
                    ptrdiff_t width) {
    if (n_step == 1) {
        for (ptrdiff_t i = 0; i < k; i++) memcpy(to + i * width, from + i * k_step, (size_t)n * sizeof *to);
    } else {
        for (ptrdiff_t i0 = 0; i0 < k; i0 += TRANSPOSE_ROWS) {
            ptrdiff_t i1 = FL_MIN(k, i0 + TRANSPOSE_ROWS);
            for (ptrdiff_t j = 0; j < n; j++)
                for (ptrdiff_t i = i0; i < i1; i++) to[i * width + j] = from[i * k_step + j * n_step];
        }
    }
    if (n < width)
        for (ptrdiff_t i = 0; i < k; i++) memset(to + i * width + n, 0, (size_t)(width - n) * sizeof *to);
}
