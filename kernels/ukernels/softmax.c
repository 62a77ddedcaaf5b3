/* Softmax over rows. */
#include "softmax_ukernels.h"

#include "varray.h"

/* One row that fits into a vector. */
FL_INLINE void short_row(ptrdiff_t columns, const fl_real *x, fl_real *y) {
    const vreal e = vkeep(vexp(vload_next(x, columns) - row_maximum(columns, x)), columns);
    vwide sum = vwiden(e);
    vstore_next(y, (fl_real)(1 / vtotal(sum)) * e, columns);
}

enum { GROUP = 16, GROUP_ELEMENTS = 2048 }; /* rows that are in L1 together */

/* A step for all rows of a group, then the next one: rows overlap in the core, the steps of one row wait for each other. */
static void forward(ptrdiff_t rows, ptrdiff_t columns, const fl_real *x, fl_real *y) {
    if (columns <= VL) {
        for (ptrdiff_t row = 0; row < rows; row++) short_row(columns, x + row * columns, y + row * columns);
        return;
    }
    const ptrdiff_t most = FL_MAX(1, FL_MIN(GROUP, GROUP_ELEMENTS / columns));
    for (ptrdiff_t group; rows > 0; rows -= group, x += group * columns, y += group * columns) {
        fl_real largest[GROUP], factor[GROUP];
        group = FL_MIN(most, rows);
        for (ptrdiff_t row = 0; row < group; row++) largest[row] = row_maximum(columns, x + row * columns);
        for (ptrdiff_t row = 0; row < group; row++)
            factor[row] = (fl_real)(1 / row_exp(columns, x + row * columns, largest[row], y + row * columns));
        for (ptrdiff_t row = 0; row < group; row++) row_scale(columns, factor[row], y + row * columns);
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
