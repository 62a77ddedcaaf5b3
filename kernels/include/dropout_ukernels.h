/* Dropout micro-kernels of one instruction set and dtype. */
#ifndef FL_DROPOUT_UKERNELS_H
#define FL_DROPOUT_UKERNELS_H

#include "fl_types.h"

/* u of element i is the top 24 bits of Philox2x32-10 of the block (i mod 2^32, i / 2^32 xor high) under key; it is kept
 * when u >= dropped, in units of 2^-24. */
typedef struct {
    uint32_t key, high, dropped;
} fl_dropout_mask;

typedef struct {
    /* y[i] = kept(first + i) ? x[i] * scale : 0; first is a multiple of the vector length */
    void (*forward)(ptrdiff_t n, uint64_t first, fl_dropout_mask, fl_real scale, const fl_real *x, fl_real *y);
} fl_dropout_ukernels;

FL_DECLARE_ROWS(fl_dropout_ukernels, dropout);

#endif
