/* Packing of a matrix into the column panels that the register tile reads. */
#include "panels.h"

#include "layout_ukernels.h"

static const fl_layout_ukernels *const ukernels[] = {FL_ISA_ROWS(layout)};

void FL(pack_panel)(ptrdiff_t k, ptrdiff_t n, const fl_real *from, ptrdiff_t k_step, ptrdiff_t n_step, fl_real *to,
                    ptrdiff_t width, int isa) {
    if (n_step == 1)
        for (ptrdiff_t i = 0; i < k; i++) fl_copy_lines(n, from + i * k_step, to + i * width);
    else
        ukernels[isa]->transpose(n, k, from, n_step, to, width);
    if (n < width)
        for (ptrdiff_t i = 0; i < k; i++) memset(to + i * width + n, 0, (size_t)(width - n) * sizeof *to);
}
