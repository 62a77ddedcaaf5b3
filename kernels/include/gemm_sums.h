/* SUM_TILE, the sums of a register tile in `vectors` vectors a row of the type VECTOR, one or two:
 *
 *     sums[i][v] += sum_t sum_k  A(t, i, k) B(t, k, v-th vector)       i < rows, see gemm_ukernels.h
 *
 * Of `length` rows one after the other, only the first pointer is read: the others' rows begin one element further each.
 * Included by gemm.c once for each width of vector; undefines both names. */

static inline __attribute__((always_inline)) void SUM_TILE(const fl_tile *t, VECTOR sums[][2], const int rows, const int length,
                                                            const int vectors) {
    typedef fl_real memory __attribute__((vector_size(sizeof(VECTOR)), aligned(sizeof(fl_real)), may_alias));
    enum { LANES = sizeof(VECTOR) / sizeof(fl_real) };
    const ptrdiff_t a_k = t->a_k, b_k = t->b_k;
    for (ptrdiff_t tap = 0; tap < t->taps; tap++) {
        const fl_real *row[MR_TALL], *b = t->b + (t->order ? t->order[tap] : tap) * t->b_next;
        const ptrdiff_t offset = t->a_offset + (t->a_at ? t->a_at[tap] : tap * t->a_step);
        UNROLL_ROWS for (int i = 0; i < rows; i += length) row[i / length] = t->a[tap * t->a_next + i] + offset;
        for (ptrdiff_t k = 0, at = 0; k < t->k; k++, at += a_k, b += b_k) {
            const VECTOR b0 = *(const memory *)b, b1 = vectors > 1 ? (VECTOR) * (const memory *)(b + LANES) : b0;
            if (rows == MR_TALL) { /* both lines on which the vector may lie */
                __builtin_prefetch(b + AHEAD * b_k);
                __builtin_prefetch(b + AHEAD * b_k + LANES - 1);
            }
            UNROLL_ROWS for (int i = 0; i < rows; i++) {
                sums[i][0] += b0 * row[i / length][at + i % length];
                if (vectors > 1) sums[i][1] += b1 * row[i / length][at + i % length];
            }
        }
    }
}

#undef VECTOR
#undef SUM_TILE
