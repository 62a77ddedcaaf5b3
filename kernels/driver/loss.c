/* Losses: blocks of rows, whose sums are added in their order. */
#include "loss.h"

#include <stdlib.h>

#include "blocks.h"
#include "loss_ukernels.h"
#include "parallel.h"

static const fl_loss_ukernels *const tables[] = {FL_ISA_ROWS(loss)};

enum { FLOPS = 60 }; /* an element, roughly */

typedef struct {
    const fl_loss *problem;
    fl_loss_ukernel *kernel;
    const fl_real *y;
    const char *targets;
    size_t target_size; /* bytes a row */
    fl_real *dy;
    double *sums; /* one a block */
} job_t;

static void blocks_of_rows(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    const fl_loss *p = job->problem;
    const ptrdiff_t block = fl_block_rows(p->columns);
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t row = task * block, from = row * p->columns;
        job->sums[task] = job->kernel(FL_MIN(block, p->rows - row), p->columns, job->y + from,
                                      job->targets + (size_t)row * job->target_size, 1 / (double)p->rows, job->dy + from);
    }
}

static int run(const fl_loss *p, const void *y, const void *targets, void *dy, double *mean) {
    *mean = 0;
    if (p->rows == 0 || p->columns == 0) return FL_OK;
    const ptrdiff_t blocks = fl_ceil_div(p->rows, fl_block_rows(p->columns));
    double *sums = malloc((size_t)blocks * sizeof *sums);
    if (!sums) return FL_ENOMEM;
    const int sparse = p->loss == FL_SPARSE_CATEGORICAL_CROSSENTROPY;
    job_t job = {.problem = p, .y = y, .targets = targets, .dy = dy, .sums = sums,
                 .kernel = (p->from_logits ? tables[p->isa]->from_logits : tables[p->isa]->from_probabilities)[p->loss],
                 .target_size = sparse ? sizeof(int64_t) : (size_t)p->columns * sizeof(fl_real)};
    const double elements = (double)p->rows * (double)p->columns;
    fl_parallel(fl_team(p->threads, blocks, elements * (12 * sizeof(fl_real) + FLOPS)), blocks, blocks_of_rows, &job);
    double sum = 0;
    for (ptrdiff_t block = 0; block < blocks; block++) sum += sums[block];
    free(sums);
    *mean = sum / (double)p->rows;
    return FL_OK;
}

const fl_loss_driver FL(loss_driver) = {run};
