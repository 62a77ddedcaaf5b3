/* Multiply-adds on every thread at once. */
#include "peak.h"

#include "parallel.h"
#include "peak_ukernels.h"

static const fl_peak_ukernels *const tables[] = {FL_ISA_ROWS(peak)};

typedef struct {
    ptrdiff_t rounds;
    int isa;
} job_t;

static void chains(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const job_t *job = job_;
    (void)thread;
    for (ptrdiff_t share = begin; share < end; share++) {
        volatile fl_real result = tables[job->isa]->multiply_adds(job->rounds, (fl_real)0.5, (fl_real)1);
        (void)result; /* stored because it is volatile, hence computed */
    }
}

double FL(multiply_adds)(ptrdiff_t rounds, int isa, int threads) {
    job_t job = {rounds, isa};
    const int team = fl_team(threads, FL_MAX_THREADS, 1e12);
    fl_parallel(team, team, chains, &job);
    return (double)team * (double)rounds * (double)tables[isa]->flops;
}
