/* Optimizer steps: blocks of elements. */
#include "optimizer.h"

#include "blocks.h"
#include "optimizer_ukernels.h"
#include "parallel.h"

static const fl_optimizer_ukernels *const tables[] = {FL_ISA_ROWS(optimizer)};

/* slots: velocity, or m and v */
typedef struct {
    fl_sgd_ukernel *sgd; /* NULL for adam */
    fl_sgd_rates sgd_rates;
    fl_adam_rates adam_rates;
    ptrdiff_t n;
    const fl_real *grad;
    fl_real *value, *slots[2];
    int isa;
} job_t;

static void elements(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    const ptrdiff_t from = begin * FL_BLOCK_ELEMENTS, n = FL_MIN(end * FL_BLOCK_ELEMENTS, job->n) - from;
    const fl_real *grad = job->grad + from;
    fl_real *value = job->value + from, *slot = job->slots[0] ? job->slots[0] + from : NULL;
    if (job->sgd) job->sgd(n, job->sgd_rates, grad, value, slot);
    else tables[job->isa]->adam(n, job->adam_rates, grad, value, slot, job->slots[1] + from);
}

/* arrays: how often an element is moved */
static void run(job_t *job, int arrays, int threads) {
    const ptrdiff_t blocks = fl_ceil_div(job->n, FL_BLOCK_ELEMENTS);
    fl_parallel(fl_team(threads, blocks, 4.0 * arrays * sizeof(fl_real) * (double)job->n), blocks, elements, job);
}

static void sgd(const fl_sgd *rates, ptrdiff_t n, const void *grad, void *value, void *velocity, int isa, int threads) {
    const fl_optimizer_ukernels *kernels = tables[isa];
    job_t job = {.n = n, .grad = grad, .value = value, .slots = {velocity},
                 .sgd = !velocity ? kernels->sgd : rates->nesterov ? kernels->sgd_nesterov : kernels->sgd_momentum,
                 .sgd_rates = {.decay = (fl_real)(1 - rates->learning_rate * rates->weight_decay),
                               .learning_rate = (fl_real)rates->learning_rate, .momentum = (fl_real)rates->momentum}};
    run(&job, velocity ? 5 : 3, threads);
}

static void adam(const fl_adam *rates, ptrdiff_t n, const void *grad, void *value, void *m, void *v, int isa, int threads) {
    job_t job = {.n = n, .grad = grad, .value = value, .slots = {m, v}, .isa = isa,
                 .adam_rates = {.decay = (fl_real)(1 - rates->learning_rate * rates->weight_decay),
                                .alpha = (fl_real)rates->alpha, .one_minus_beta_1 = (fl_real)(1 - rates->beta_1),
                                .one_minus_beta_2 = (fl_real)(1 - rates->beta_2), .epsilon = (fl_real)rates->epsilon}};
    run(&job, 7, threads);
}

const fl_optimizer_driver FL(optimizer_driver) = {sgd, adam};
