/* Dropout: one stream of random words per (seed, counter), blocks of elements. */
#include "dropout.h"

#include "blocks.h"
#include "dropout_ukernels.h"
#include "parallel.h"

static const fl_dropout_ukernels *const tables[] = {FL_ISA_ROWS(dropout)};

enum { PHILOX_OPERATIONS = 40 }; /* an element */

typedef struct {
    fl_dropout_mask mask;
    fl_real scale;
    const fl_real *x;
    fl_real *y;
    ptrdiff_t n;
    int isa;
} job_t;

/* SplitMix64's output function after one step of its counter (Steele, Lea and Flood, OOPSLA 2014) */
static uint64_t mix(uint64_t z) {
    z += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* u >= rate for u in units of 2^-24: ceil(rate * 2^24) of them are dropped */
static uint32_t dropped_of(double rate) {
    const double units = rate * (1 << 24);
    const uint32_t whole = (uint32_t)units;
    return whole + (whole < units);
}

static void elements(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    const ptrdiff_t from = begin * FL_BLOCK_ELEMENTS, n = FL_MIN(end * FL_BLOCK_ELEMENTS, job->n) - from;
    tables[job->isa]->forward(n, (uint64_t)from, job->mask, job->scale, job->x + from, job->y + from);
}

static void forward(ptrdiff_t n, const void *x, void *y, double rate, uint64_t seed, uint64_t counter, int isa, int threads) {
    const uint64_t stream = mix(seed ^ mix(counter));
    job_t job = {.mask = {.key = (uint32_t)stream, .high = (uint32_t)(stream >> 32), .dropped = dropped_of(rate)},
                 .scale = (fl_real)(1 / (1 - rate)), .x = x, .y = y, .n = n, .isa = isa};
    const ptrdiff_t blocks = fl_ceil_div(n, FL_BLOCK_ELEMENTS);
    fl_parallel(fl_team(threads, blocks, (double)n * (8 * sizeof(fl_real) + PHILOX_OPERATIONS)), blocks, elements, &job);
}

const fl_dropout_driver FL(dropout_driver) = {forward};
