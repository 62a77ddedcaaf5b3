/* Element-wise functions of two arrays: blocks of elements. */
#include "merge.h"

#include "blocks.h"
#include "merge_ukernels.h"
#include "parallel.h"

static const fl_merge_ukernels *const tables[] = {FL_ISA_ROWS(merge)};

typedef struct {
    fl_merge_ukernel *kernel;
    ptrdiff_t n;
    const fl_real *a, *b;
    fl_real *y;
} job_t;

static void elements(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    const ptrdiff_t from = begin * FL_BLOCK_ELEMENTS, n = FL_MIN(end * FL_BLOCK_ELEMENTS, job->n) - from;
    job->kernel(n, job->a + from, job->b + from, job->y + from);
}

static void run(fl_merge_ukernel *kernel, ptrdiff_t n, const void *a, const void *b, void *y, int threads) {
    job_t job = {.kernel = kernel, .n = n, .a = a, .b = b, .y = y};
    const ptrdiff_t blocks = fl_ceil_div(n, FL_BLOCK_ELEMENTS);
    const double bytes = 3.0 * sizeof(fl_real) * (double)n;
    fl_parallel(fl_team(threads, blocks, 4 * bytes), blocks, elements, &job);
}

static void add(ptrdiff_t n, const void *a, const void *b, void *y, int isa, int threads) {
    run(tables[isa]->add, n, a, b, y, threads);
}

static void multiply(ptrdiff_t n, const void *a, const void *b, void *y, int isa, int threads) {
    run(tables[isa]->multiply, n, a, b, y, threads);
}

const fl_merge_driver FL(merge_driver) = {.add = add, .multiply = multiply};
