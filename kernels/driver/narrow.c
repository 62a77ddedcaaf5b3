/* Gradients of dense layers of few units, fewer than fill some vectors: computed transposed, along the inputs.
 *
 *     dx  = dy (W^T)          as a forward product with the transpose of W
 *     dW  = (dy^T x)^T        as the weight gradient of x and dy in each other's place */
#include "buffers.h"
#include "dense_algorithms.h"
#include "layout_ukernels.h"
#include "sum_rows.h"

static const fl_layout_ukernels *const ukernels[] = {FL_ISA_ROWS(layout)};

static fl_dense turned(const fl_dense *d) {
    return (fl_dense){.rows = d->rows, .inputs = d->units, .units = d->inputs, .isa = d->isa, .threads = d->threads};
}

int FL(narrow_backward_input)(const fl_dense *d, const void *dy, const void *kernel, void *dx) {
    const size_t bytes = (size_t)(d->inputs * d->units) * sizeof(fl_real);
    fl_real *transposed = fl_buffer_get(bytes);
    if (!transposed) return FL_ENOMEM;
    ukernels[d->isa]->transpose(d->inputs, d->units, kernel, d->units, transposed, d->inputs);
    const fl_dense t = turned(d);
    int status = FL(skinny_forward)(&t, dy, transposed, NULL, dx, 0, 0);
    fl_buffer_put(transposed, bytes);
    return status;
}

int FL(narrow_backward_weight)(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    const size_t bytes = (size_t)(d->inputs * d->units) * sizeof(fl_real);
    fl_real *transposed = fl_buffer_get(bytes);
    if (!transposed) return FL_ENOMEM;
    const fl_dense t = turned(d);
    int status = dbias ? FL(sum_rows)(d->rows, d->units, dy, dbias, 1) : FL_OK;
    if (!status) status = FL(skinny_backward_weight)(&t, dy, x, transposed, NULL);
    if (!status) ukernels[d->isa]->transpose(d->units, d->inputs, transposed, d->inputs, dkernel, d->units);
    fl_buffer_put(transposed, bytes);
    return status;
}
