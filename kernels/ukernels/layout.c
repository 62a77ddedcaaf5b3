/* Matrix transposition: square tiles in registers, what is left over element by element.
 *
 * log2(N) perfect shuffles transpose a tile of N x N: each interleaves row i with row N/2 + i into rows 2i and 2i + 1. */
#include "interleave.h"
#include "layout_ukernels.h"

enum { BYTE_LANES = 16 };
typedef uint8_t vbytes __attribute__((vector_size(16)));

/* The first rows and cols, no more than LANES each, of a tile */
static inline __attribute__((always_inline)) void transpose_tile(ptrdiff_t rows, ptrdiff_t cols, const fl_real *x,
                                                                 ptrdiff_t x_stride, fl_real *y, ptrdiff_t y_stride) {
    vreal row[LANES], shuffled[LANES];
    for (int i = 0; i < LANES; i++) {
        if (i >= rows) row[i] = (vreal){0};
        else row[i] = cols < LANES ? vload_part(x + i * x_stride, cols) : vload(x + i * x_stride);
    }
#pragma GCC unroll 4
    for (int step = 1; step < LANES; step *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < LANES / 2; i++) {
            shuffled[2 * i] = SHUFFLE(row[i], row[LANES / 2 + i], vint, INTERLEAVE(LANES, 0));
            shuffled[2 * i + 1] = SHUFFLE(row[i], row[LANES / 2 + i], vint, INTERLEAVE(LANES, LANES / 2));
        }
#pragma GCC unroll 16
        for (int i = 0; i < LANES; i++) row[i] = shuffled[i];
    }
    for (int i = 0; i < LANES && i < cols; i++) {
        if (rows < LANES) vstore_part(y + i * y_stride, row[i], rows);
        else vstore(y + i * y_stride, row[i]);
    }
}

static inline void transpose_byte_tile(const uint8_t *x, ptrdiff_t x_stride, uint8_t *y, ptrdiff_t y_stride) {
    vbytes row[BYTE_LANES], shuffled[BYTE_LANES];
    for (int i = 0; i < BYTE_LANES; i++) memcpy(&row[i], x + i * x_stride, BYTE_LANES);
#pragma GCC unroll 4
    for (int step = 1; step < BYTE_LANES; step *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < BYTE_LANES / 2; i++) {
            shuffled[2 * i] = SHUFFLE(row[i], row[BYTE_LANES / 2 + i], vbytes, INTERLEAVE_16(16, 0));
            shuffled[2 * i + 1] = SHUFFLE(row[i], row[BYTE_LANES / 2 + i], vbytes, INTERLEAVE_16(16, 8));
        }
#pragma GCC unroll 16
        for (int i = 0; i < BYTE_LANES; i++) row[i] = shuffled[i];
    }
    for (int i = 0; i < BYTE_LANES; i++) memcpy(y + i * y_stride, &row[i], BYTE_LANES);
}

static void transpose(ptrdiff_t rows, ptrdiff_t cols, const fl_real *x, ptrdiff_t x_stride, fl_real *y, ptrdiff_t y_stride) {
    const ptrdiff_t tiled_cols = cols - cols % LANES;
    for (; rows >= LANES; rows -= LANES, x += LANES * x_stride, y += LANES) {
        for (ptrdiff_t c = 0; c < tiled_cols; c += LANES) transpose_tile(LANES, LANES, x + c, x_stride, y + c * y_stride, y_stride);
        if (tiled_cols < cols)
            transpose_tile(LANES, cols - tiled_cols, x + tiled_cols, x_stride, y + tiled_cols * y_stride, y_stride);
    }
    for (ptrdiff_t c = 0; rows > 0 && c < cols; c += LANES)
        transpose_tile(rows, FL_MIN(LANES, cols - c), x + c, x_stride, y + c * y_stride, y_stride);
}

static void transpose_u8(ptrdiff_t rows, ptrdiff_t cols, const uint8_t *x, ptrdiff_t x_stride, uint8_t *y, ptrdiff_t y_stride) {
    const ptrdiff_t tiled_rows = rows - rows % BYTE_LANES, tiled_cols = cols - cols % BYTE_LANES;
    for (ptrdiff_t r = 0; r < tiled_rows; r += BYTE_LANES)
        for (ptrdiff_t c = 0; c < tiled_cols; c += BYTE_LANES)
            transpose_byte_tile(x + r * x_stride + c, x_stride, y + c * y_stride + r, y_stride);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = r < tiled_rows ? tiled_cols : 0; c < cols; c++) y[c * y_stride + r] = x[r * x_stride + c];
}

static void transpose_i32(ptrdiff_t rows, ptrdiff_t cols, const int32_t *x, ptrdiff_t x_stride, int32_t *y, ptrdiff_t y_stride) {
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < cols; c++) y[c * y_stride + r] = x[r * x_stride + c];
}

const fl_layout_ukernels FL_UK(layout) = {
    .transpose = transpose, .transpose_u8 = transpose_u8, .transpose_i32 = transpose_i32};
