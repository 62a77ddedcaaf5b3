/* Matrix transposition: square tiles in registers, what is left over element by element.
 *
 * log2(N) perfect shuffles transpose a tile of N x N: each interleaves row i with row N/2 + i into rows 2i and 2i + 1. */
#include "layout_ukernels.h"
#include "vec.h"

/* Lanes k, n + k, k + 1, n + k + 1, ... of two vectors of n lanes: their interleaving, from lane k on */
#define INTERLEAVE_2(n, k) k, n + k
#define INTERLEAVE_4(n, k) INTERLEAVE_2(n, k), INTERLEAVE_2(n, k + 1)
#define INTERLEAVE_8(n, k) INTERLEAVE_4(n, k), INTERLEAVE_4(n, k + 2)
#define INTERLEAVE_16(n, k) INTERLEAVE_8(n, k), INTERLEAVE_8(n, k + 4)

#ifdef FL_DOUBLE
#define LANES (FL_VECTOR_BYTES / 8)
#else
#define LANES (FL_VECTOR_BYTES / 4)
#endif
#if LANES == 2
#define INTERLEAVE INTERLEAVE_2
#elif LANES == 4
#define INTERLEAVE INTERLEAVE_4
#elif LANES == 8
#define INTERLEAVE INTERLEAVE_8
#else
#define INTERLEAVE INTERLEAVE_16
#endif

#ifdef __clang__
#define SHUFFLE(a, b, ints, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ints, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

enum { BYTE_LANES = 16 };
typedef uint8_t vbytes __attribute__((vector_size(16)));

static inline void transpose_tile(const fl_real *x, ptrdiff_t x_stride, fl_real *y, ptrdiff_t y_stride) {
    vreal row[LANES], shuffled[LANES];
    for (int i = 0; i < LANES; i++) row[i] = vload(x + i * x_stride);
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
    for (int i = 0; i < LANES; i++) vstore(y + i * y_stride, row[i]);
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
    const ptrdiff_t tiled_rows = rows - rows % LANES, tiled_cols = cols - cols % LANES;
    for (ptrdiff_t r = 0; r < tiled_rows; r += LANES)
        for (ptrdiff_t c = 0; c < tiled_cols; c += LANES)
            transpose_tile(x + r * x_stride + c, x_stride, y + c * y_stride + r, y_stride);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = r < tiled_rows ? tiled_cols : 0; c < cols; c++) y[c * y_stride + r] = x[r * x_stride + c];
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
