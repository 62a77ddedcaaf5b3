/* Matrix transposition in registers, for one instruction set and dtype. */
#ifndef FL_LAYOUT_UKERNELS_H
#define FL_LAYOUT_UKERNELS_H

#include "fl_types.h"

/* y[c * y_stride + r] = x[r * x_stride + c] for r < rows, c < cols; x and y do not overlap. */
typedef struct {
    void (*transpose)(ptrdiff_t rows, ptrdiff_t cols, const fl_real *x, ptrdiff_t x_stride, fl_real *y, ptrdiff_t y_stride);
    void (*transpose_u8)(ptrdiff_t rows, ptrdiff_t cols, const uint8_t *x, ptrdiff_t x_stride, uint8_t *y, ptrdiff_t y_stride);
    void (*transpose_i32)(ptrdiff_t rows, ptrdiff_t cols, const int32_t *x, ptrdiff_t x_stride, int32_t *y, ptrdiff_t y_stride);
} fl_layout_ukernels;

FL_DECLARE_ROWS(fl_layout_ukernels, layout);

#endif
