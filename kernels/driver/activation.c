/* Activations: blocks of elements, blocks of rows. */
#include "activation.h"

#include "activation_ukernels.h"
#include "blocks.h"
#include "parallel.h"
#include "softmax_ukernels.h"

static const fl_activation_ukernels *const elementwise[] = {FL_ISA_ROWS(activation)};
static const fl_softmax_ukernels *const rowwise[] = {FL_ISA_ROWS(softmax)};

enum { EXP_FLOPS = 40 }; /* of the activations that need exp, roughly */

/* Forward when dy is NULL.  One task is one block of elements, or of rows. */
typedef struct {
    const fl_real *x, *dy;
    fl_real *out, alpha;
    ptrdiff_t count, columns;
    int activation, isa;
} job_t;

static void elements(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    const fl_activation_ukernels *kernels = elementwise[job->isa];
    const ptrdiff_t from = begin * FL_BLOCK_ELEMENTS, n = FL_MIN(end * FL_BLOCK_ELEMENTS, job->count) - from;
    if (job->dy) kernels->backward[job->activation](n, job->dy + from, job->x + from, job->out + from, job->alpha);
    else kernels->forward[job->activation](n, job->x + from, job->out + from, job->alpha);
}

static void run_elements(job_t job, int threads) {
    const double bytes = (job.dy ? 3.0 : 2.0) * sizeof(fl_real), flops = job.activation > FL_LEAKY_RELU ? EXP_FLOPS : 0;
    const ptrdiff_t blocks = fl_ceil_div(job.count, FL_BLOCK_ELEMENTS);
    fl_parallel(fl_team(threads, blocks, (double)job.count * (4 * bytes + flops)), blocks, elements, &job);
}

static void forward(ptrdiff_t n, const void *x, void *y, int activation, double alpha, int isa, int threads) {
    run_elements((job_t){.x = x, .out = y, .count = n, .alpha = (fl_real)alpha, .activation = activation, .isa = isa}, threads);
}

static void backward(ptrdiff_t n, const void *dy, const void *r, void *dx, int activation, double alpha, int isa,
                     int threads) {
    run_elements((job_t){.x = r, .dy = dy, .out = dx, .count = n, .alpha = (fl_real)alpha, .activation = activation, .isa = isa},
                 threads);
}

static void rows(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    const fl_softmax_ukernels *kernels = rowwise[job->isa];
    const ptrdiff_t block = fl_block_rows(job->columns), first = begin * block, from = first * job->columns;
    const ptrdiff_t count = FL_MIN(end * block, job->count) - first;
    if (job->dy) kernels->backward(count, job->columns, job->dy + from, job->x + from, job->out + from);
    else kernels->forward(count, job->columns, job->x + from, job->out + from);
}

static void run_rows(job_t job, int threads) {
    if (job.columns == 0) return;
    const double elements_in_all = (double)job.count * (double)job.columns;
    const ptrdiff_t blocks = fl_ceil_div(job.count, fl_block_rows(job.columns));
    fl_parallel(fl_team(threads, blocks, elements_in_all * (8 * sizeof(fl_real) + EXP_FLOPS)), blocks, rows, &job);
}

static void softmax(ptrdiff_t rows, ptrdiff_t columns, const void *x, void *y, int isa, int threads) {
    run_rows((job_t){.x = x, .out = y, .count = rows, .columns = columns, .isa = isa}, threads);
}

static void softmax_backward(ptrdiff_t rows, ptrdiff_t columns, const void *dy, const void *y, void *dx, int isa, int threads) {
    run_rows((job_t){.x = y, .dy = dy, .out = dx, .count = rows, .columns = columns, .isa = isa}, threads);
}

const fl_activation_driver FL(activation_driver) = {forward, backward, softmax, softmax_backward};
