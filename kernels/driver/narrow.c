/* Dense layers of few units, fewer than fill some vectors: computed transposed, along the inputs.
 *
 *     y = (W^T x^T)^T      each element a dot of two rows
 *     dW = (dy^T x)^T      as the weight gradient of x and dy in each other's place, by any other algorithm */
#include "buffers.h"
#include "dense_algorithms.h"
#include "layout_ukernels.h"
#include "parallel.h"
#include "skinny_ukernels.h"
#include "sum_rows.h"

enum { BLOCK = 240 }; /* rows of a task: a multiple of all tiles */

static const fl_layout_ukernels *const ukernels[] = {FL_ISA_ROWS(layout)};
static const fl_skinny_ukernels *const products[] = {FL_ISA_ROWS(skinny)};

/* ---- forward ---- */

typedef struct {
    const fl_dense *d;
    const fl_real *x, *packed, *bias; /* packed: W^T */
    fl_real *y;
    int activation;
    fl_real alpha;
} job;

static void forward_blocks(void *untyped, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job *p = untyped;
    const fl_skinny_ukernels *uk = products[p->d->isa];
    const ptrdiff_t inputs = p->d->inputs, units = p->d->units;
    fl_real turned[FL_NARROW_UNITS * BLOCK], sums[FL_NARROW_UNITS * BLOCK], bias[FL_NARROW_UNITS * BLOCK];
    for (ptrdiff_t i = 0; p->bias && i < units * BLOCK; i++) bias[i] = p->bias[i % units];
    for (ptrdiff_t first = begin * BLOCK; first < FL_MIN(p->d->rows, end * BLOCK); first += BLOCK) {
        const ptrdiff_t rows = FL_MIN(BLOCK, p->d->rows - first);
        uk->dots(units, rows, inputs, p->packed, p->x + first * inputs, inputs, turned, BLOCK, 0);
        ukernels[p->d->isa]->transpose(units, rows, turned, BLOCK, sums, units);
        uk->finish(rows * units, sums, p->bias ? bias : NULL, p->y + first * units, p->activation, p->alpha);
    }
}

int FL(narrow_forward)(const fl_dense *d, const void *x, const void *kernel, const void *bias, void *y, int activation,
                       double alpha) {
    const fl_skinny_ukernels *uk = products[d->isa];
    const ptrdiff_t weights = d->inputs * d->units, blocks = fl_ceil_div(d->rows, BLOCK);
    const size_t bytes = (size_t)(weights + d->units * fl_ceil_div(d->inputs, uk->lanes) * uk->lanes) * sizeof(fl_real);
    fl_real *turned = fl_buffer_get(bytes), *packed = turned + weights;
    if (!turned) return FL_ENOMEM;
    ukernels[d->isa]->transpose(d->inputs, d->units, kernel, d->units, turned, d->inputs);
    uk->pack(d->units, d->inputs, turned, d->inputs, packed);
    job p = {.d = d, .x = x, .packed = packed, .bias = bias, .y = y, .activation = activation, .alpha = (fl_real)alpha};
    fl_parallel(fl_team(d->threads, blocks, FL(dense_work)(d)), blocks, forward_blocks, &p);
    fl_buffer_put(turned, bytes);
    return FL_OK;
}

/* ---- dW ---- */

int FL(narrow_backward_weight)(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    const size_t bytes = (size_t)(d->inputs * d->units) * sizeof(fl_real);
    fl_real *transposed = fl_buffer_get(bytes);
    const fl_dense turned = {.rows = d->rows, .inputs = d->units, .units = d->inputs, .isa = d->isa, .threads = d->threads};
    if (!transposed) return fl_probing() ? FL(dense_driver).backward_weight(&turned, dy, x, NULL, NULL) : FL_ENOMEM;
    int status = dbias ? FL(sum_rows)(d->rows, d->units, dy, dbias, d->isa, d->threads) : FL_OK;
    if (!status) status = FL(dense_driver).backward_weight(&turned, dy, x, transposed, NULL);
    if (!status) ukernels[d->isa]->transpose(d->units, d->inputs, transposed, d->inputs, dkernel, d->units);
    fl_buffer_put(transposed, bytes);
    return status;
}
