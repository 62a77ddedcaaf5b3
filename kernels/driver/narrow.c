/* The weight gradient of layers of few units, fewer than fill some vectors: computed transposed, along the inputs.
 *
 *     dW = (dy^T x)^T     as the weight gradient of x and dy in each other's place */
#include "buffers.h"
#include "dense_algorithms.h"
#include "layout_ukernels.h"
#include "sum_rows.h"

static const fl_layout_ukernels *const ukernels[] = {FL_ISA_ROWS(layout)};

int FL(narrow_backward_weight)(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    const size_t bytes = (size_t)(d->inputs * d->units) * sizeof(fl_real);
    fl_real *transposed = fl_buffer_get(bytes);
    const fl_dense turned = {.rows = d->rows, .inputs = d->units, .units = d->inputs, .isa = d->isa, .threads = d->threads};
    if (!transposed) return fl_probing() ? FL(blocked_backward_weight)(&turned, dy, x, NULL, NULL) : FL_ENOMEM;
    int status = dbias ? FL(sum_rows)(d->rows, d->units, dy, dbias, d->isa, 1) : FL_OK;
    if (!status) status = FL(blocked_backward_weight)(&turned, dy, x, transposed, NULL);
    if (!status) ukernels[d->isa]->transpose(d->units, d->inputs, transposed, d->inputs, dkernel, d->units);
    fl_buffer_put(transposed, bytes);
    return status;
}
