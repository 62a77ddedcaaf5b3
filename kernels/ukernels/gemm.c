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

#define VECTOR vreal
#define SUM_TILE sum_tile
#include "gemm_sums.h"

static inline __attribute__((always_inline)) void run_tile(const fl_tile *t, const int rows, const int length, const int vectors) {
    vreal sums[MR_TALL][2] = {{{0}}};
    prefetch_lines(t, rows, vectors);
    sum_tile(t, sums, rows, length, vectors);
    if (t->n == vectors * VL && !t->accumulate && t->activation <= FL_RELU) store_whole(t, sums, rows, vectors);
    else
        UNROLL_ROWS for (int i = 0; i < rows; i++) store_row(t, t->c[i] + t->c_offset, sums[i], vectors);
}

/* So few columns that half a vector holds them: where a vector of 64 bytes is multiplied in two halves, that is half the work. */
#if defined(FL_MASKED_AVX512)
enum { HALF = FL_VECTOR_BYTES / sizeof(fl_real) / 2 };
typedef fl_real vhalf __attribute__((vector_size(FL_VECTOR_BYTES / 2)));

#define VECTOR vhalf
#define SUM_TILE sum_half_tile
#include "gemm_sums.h"

static inline __attribute__((always_inline)) void run_half_tile(const fl_tile *t, const int rows, const int length) {
    vhalf sums[MR_TALL][2] = {{{0}}};
    prefetch_lines(t, rows, 1);
    sum_half_tile(t, sums, rows, length, 1);
    UNROLL_ROWS for (int i = 0; i < rows; i++) {
        const vreal whole = (vreal)_mm512_zextsi256_si512((__m256i)sums[i][0]);
        store_row(t, t->c[i] + t->c_offset, &whole, 1);
    }
}
#else
enum { HALF = 0 };
static inline void run_half_tile(const fl_tile *t, const int rows, const int length) { run_tile(t, rows, length, 1); }
#endif

static inline __attribute__((always_inline)) void run_tall(const fl_tile *t, const int length) {
    if (t->n <= HALF) run_half_tile(t, MR_TALL, length);
    else run_tile(t, MR_TALL, length, 1);
}

static void tile(const fl_tile *t) { run_tile(t, MR, 1, 2); }
static void tile_narrow(const fl_tile *t) { run_tile(t, MR, 1, 1); }
static void tile_short(const fl_tile *t) { run_tile(t, MR_SHORT, 1, 2); }
static void tile_short_narrow(const fl_tile *t) { run_tile(t, MR_SHORT, 1, 1); }
static void tile_tall(const fl_tile *t) { run_tall(t, 1); }
static void tile_tall_of_5(const fl_tile *t) { run_tall(t, 5); }
static void tile_tall_of_9(const fl_tile *t) { run_tall(t, 9); }

const fl_gemm_ukernels FL_UK(gemm) = {.mr = MR, .mr_short = MR_SHORT, .mr_tall = MR_TALL, .nr = 2 * VL, .nr_narrow = VL,
                                      .tile = tile, .tile_narrow = tile_narrow,
                                      .tile_short = tile_short, .tile_short_narrow = tile_short_narrow,
                                      .tile_tall = tile_tall, .tile_tall_of_5 = tile_tall_of_5,
                                      .tile_tall_of_9 = tile_tall_of_9};
