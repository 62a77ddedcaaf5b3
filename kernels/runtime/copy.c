/* Copying memory on every thread at once. */
#include <string.h>

#include "parallel.h"
#include "peak.h"

enum { BLOCK = 1 << 16 }; /* parts begin on whole pages */

typedef struct {
    char *target;
    const char *source;
    size_t bytes;
} job_t;

static void blocks(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    const size_t from = (size_t)begin * BLOCK, to = (size_t)end * BLOCK;
    memcpy(job->target + from, job->source + from, (to < job->bytes ? to : job->bytes) - from);
}

void fl_copy(void *target, const void *source, size_t bytes, int threads) {
    job_t job = {target, source, bytes};
    const ptrdiff_t tasks = (ptrdiff_t)((bytes + BLOCK - 1) / BLOCK);
    fl_parallel(fl_team(threads, tasks, 1e12), tasks, blocks, &job);
}
