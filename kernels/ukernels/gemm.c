/* The register tile: MR rows x 2 vectors (or 1, for a narrow rest) of accumulators that never leave the registers; a tall one has
 * MR_TALL rows x 1 vector. */
#include "activation_ukernels.h"
#include "gemm_ukernels.h"
#include "vec.h"

/* Rows: as many as the registers hold beside two vectors of B.  A short tile has as many as keep the multipliers busy. */
#if FL_VECTOR_BYTES == 64 || defined(__aarch64__)
enum { MR = 12, MR_SHORT = 4, MR_TALL = 28 };
#else
enum { MR = 6, MR_SHORT = 4, MR_TALL = 12 };
#endif
enum { AHEAD = 16 }; /* rows of B that a tall tile asks for before it reads them */

#define UNROLL_ROWS _Pragma("GCC unroll 28")

static inline vreal relu(vreal x) { return vselect(x <= 0, (vreal){0}, x); }

/* The usual end: whole rows, written only. */
static inline __attribute__((always_inline)) void store_whole(const fl_tile *t, vreal sums[][2], const int rows,
                                                              const int vectors) {
    const ptrdiff_t c_offset = t->c_offset;
    vreal bias[2] = {{0}};
    for (int v = 0; v < vectors && t->bias; v++) bias[v] = vload(t->bias + v * VL);
    if (t->activation == FL_RELU)
        UNROLL_ROWS for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++) vstore(t->c[i] + c_offset + v * VL, relu(sums[i][v] + bias[v]));
    else
        UNROLL_ROWS for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++) vstore(t->c[i] + c_offset + v * VL, sums[i][v] + bias[v]);
}

/* Add the tile's sums to what the epilogue asks for, and store row i. */
static inline __attribute__((always_inline)) void store_row(const fl_tile *t, fl_real *c, const vreal *sums, const int vectors) {
    for (int v = 0; v < vectors; v++) {
        ptrdiff_t n = t->n - v * VL;
        if (n <= 0) break;
        vreal y = sums[v];
        if (n >= VL) {
            if (t->accumulate) y += vload(c + v * VL);
            if (t->bias) y += vload(t->bias + v * VL);
            if (t->activation == FL_RELU) y = relu(y);
            vstore(c + v * VL, y);
        } else {
            if (t->accumulate) y += vload_part(c + v * VL, n);
            if (t->bias) y += vload_part(t->bias + v * VL, n);
            if (t->activation == FL_RELU) y = relu(y);
            vstore_part(c + v * VL, y, n);
        }
    }
    if (t->activation > FL_RELU) FL_UK(activation).forward[t->activation](t->n, c, c, t->alpha);
}

/* Ask for the lines of C while the sums are taken: those to add to, and where a vector is a whole line, those to write, since a
 * burst of such stores that miss the caches would hold up the next tile.  A single tap in order is a plain product, into scratch
 * that is in cache. */
static inline __attribute__((always_inline)) void prefetch_lines(const fl_tile *t, const int rows, const int vectors) {
    const int plain = t->taps == 1 && !t->order;
    if (!t->accumulate && (plain || FL_VECTOR_BYTES < 64)) return;
    UNROLL_ROWS for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) __builtin_prefetch(t->c[i] + t->c_offset + v * VL, 1, 3);
}

/* Both lines on which a vector may lie. */
static inline void prefetch_vector(const fl_real *b) {
    __builtin_prefetch(b);
    __builtin_prefetch(b + VL - 1);
}

static inline __attribute__((always_inline)) void run_tile(const fl_tile *t, const int rows, const int vectors) {
    vreal sums[MR_TALL][2] = {{{0}}};
    const ptrdiff_t a_k = t->a_k, b_k = t->b_k;
    prefetch_lines(t, rows, vectors);
    for (ptrdiff_t tap = 0; tap < t->taps; tap++) {
        const fl_real *row[MR_TALL], *b = t->b + (t->order ? t->order[tap] : tap) * t->b_next;
        const ptrdiff_t offset = t->a_offset + (t->a_at ? t->a_at[tap] : tap * t->a_step);
        UNROLL_ROWS for (int i = 0; i < rows; i++) row[i] = t->a[tap * t->a_next + i] + offset;
        for (ptrdiff_t k = 0, at = 0; k < t->k; k++, at += a_k, b += b_k) {
            vreal b0 = vload(b), b1 = vectors > 1 ? vload(b + VL) : b0;
            if (rows == MR_TALL) prefetch_vector(b + AHEAD * b_k);
            UNROLL_ROWS for (int i = 0; i < rows; i++) {
                sums[i][0] += b0 * row[i][at];
                if (vectors > 1) sums[i][1] += b1 * row[i][at];
            }
        }
    }
    if (t->n == vectors * VL && !t->accumulate && t->activation <= FL_RELU) store_whole(t, sums, rows, vectors);
    else
        UNROLL_ROWS for (int i = 0; i < rows; i++) store_row(t, t->c[i] + t->c_offset, sums[i], vectors);
}

static void tile(const fl_tile *t) { run_tile(t, MR, 2); }
static void tile_narrow(const fl_tile *t) { run_tile(t, MR, 1); }
static void tile_short(const fl_tile *t) { run_tile(t, MR_SHORT, 2); }
static void tile_short_narrow(const fl_tile *t) { run_tile(t, MR_SHORT, 1); }
static void tile_tall(const fl_tile *t) { run_tile(t, MR_TALL, 1); }

const fl_gemm_ukernels FL_UK(gemm) = {.mr = MR, .mr_short = MR_SHORT, .mr_tall = MR_TALL, .nr = 2 * VL, .nr_narrow = VL,
                                      .tile = tile, .tile_narrow = tile_narrow,
                                      .tile_short = tile_short, .tile_short_narrow = tile_short_narrow,
                                      .tile_tall = tile_tall};
