/* Column sums of a matrix. */
#include "sum_rows.h"

#include <string.h>

#include "buffers.h"
#include "parallel.h"
#include "sum_rows_ukernels.h"

enum { SLICES = 16, SLICE_ROWS = 64 }; /* at most; at least */

static const fl_sum_rows_ukernels *const ukernels[] = {FL_ISA_ROWS(sum_rows)};

typedef struct {
    const fl_sum_rows_ukernels *uk;
    ptrdiff_t rows, n, slices;
    const fl_real *x;
    fl_real *partial; /* [slice][n] */
} job;

static void sum_slices(void *argument, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job *s = argument;
    for (ptrdiff_t slice = begin; slice < end; slice++) {
        fl_real *sums = s->partial + slice * s->n;
        memset(sums, 0, (size_t)s->n * sizeof *sums);
        const ptrdiff_t first = s->rows * slice / s->slices, end = s->rows * (slice + 1) / s->slices;
        s->uk->add(end - first, s->n, s->x + first * s->n, s->n, sums);
    }
}

int FL(sum_rows)(ptrdiff_t rows, ptrdiff_t n, const fl_real *x, fl_real *sums, int isa, int threads) {
    job s = {.uk = ukernels[isa], .rows = rows, .n = n, .slices = FL_MAX(1, FL_MIN(SLICES, rows / SLICE_ROWS)), .x = x};
    const size_t bytes = (size_t)(s.slices * n) * sizeof *sums;
    s.partial = fl_buffer_get(bytes);
    if (!s.partial) return FL_ENOMEM;
    fl_parallel(fl_team(threads, s.slices, 4.0 * sizeof *x * (double)rows * (double)n), s.slices, sum_slices, &s);
    memcpy(sums, s.partial, (size_t)n * sizeof *sums);
    for (ptrdiff_t slice = 1; slice < s.slices; slice++)
        for (ptrdiff_t j = 0; j < n; j++) sums[j] += s.partial[slice * n + j];
    fl_buffer_put(s.partial, bytes);
    return FL_OK;
}
