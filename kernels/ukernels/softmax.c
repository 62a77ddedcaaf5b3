/* Softmax over rows. */
#include "softmax_ukernels.h"

#include "varray.h"

static void forward(ptrdiff_t rows, ptrdiff_t columns, const fl_real *x, fl_real *y) {
    for (ptrdiff_t row = 0; row < rows; row++, x += columns, y += columns) {
        double sum = row_exp(columns, x, row_maximum(columns, x), y);
        row_scale(columns, (fl_real)(1 / sum), y);
    }
}

static void backward(ptrdiff_t rows, ptrdiff_t columns, const fl_real *dy, const fl_real *y, fl_real *dx) {
    for (ptrdiff_t row = 0; row < rows; row++, dy += columns, y += columns, dx += columns) {
        fl_real mean = (fl_real)row_dot(columns, dy, y);
        for (ptrdiff_t i = 0; i < columns; i += VL) {
            ptrdiff_t left = columns - i;
            vstore_next(dx + i, vload_next(y + i, left) * (vload_next(dy + i, left) - mean), left);
        }
    }
}

const fl_softmax_ukernels FL_UK(softmax) = {forward, backward};
