/* Dropout with a mask from Philox2x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). */
#include "dropout_ukernels.h"

#include "varray.h"

/* The numbers u of FL_DROPOUT_CHUNK elements, in units of 2^-24; plain loops, which the compiler turns into vectors. */
static void draw(uint64_t first, uint32_t high_word, uint32_t key, fl_int *u) {
    const uint32_t first_low = (uint32_t)first, first_high = (uint32_t)(first >> 32) ^ high_word;
    for (uint32_t i = 0; i < FL_DROPOUT_CHUNK; i++) {
        uint32_t low = first_low + i, high = first_high, round_key = key;
        _Pragma("GCC unroll 10") for (int round = 0; round < 10; round++, round_key += 0x9E3779B9u) {
            uint64_t product = (uint64_t)low * 0xD256D193u;
            low = (uint32_t)(product >> 32) ^ round_key ^ high;
            high = (uint32_t)product;
        }
        u[i] = (fl_int)(low >> 8);
    }
}

static void forward(ptrdiff_t n, uint64_t first, fl_dropout_mask mask, fl_real scale, const fl_real *x, fl_real *y) {
    vint u[FL_DROPOUT_CHUNK * sizeof(fl_int) / FL_VECTOR_BYTES];
    for (ptrdiff_t begin = 0; begin < n; begin += FL_DROPOUT_CHUNK) {
        draw(first + (uint64_t)begin, mask.high, mask.key, (fl_int *)u);
        for (ptrdiff_t i = 0; i < FL_MIN(FL_DROPOUT_CHUNK, n - begin); i += VL) {
            vint dropped = (vint)(u[i / VL] < (fl_int)mask.dropped);
            vreal kept = vzero_where(dropped, scale * vload_next(x + begin + i, n - begin - i));
            vstore_next(y + begin + i, kept, n - begin - i);
        }
    }
}

const fl_dropout_ukernels FL_UK(dropout) = {forward};
