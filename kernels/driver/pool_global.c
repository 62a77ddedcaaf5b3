/* Pooling with one window over the whole image: every image or, of channels_first images, every plane is one run of
 * pixels. */
#include "pool_global.h"

#include <string.h>

#include "parallel.h"
#include "pool_plane_ukernels.h"

enum {
    BLOCK = 64,              /* planes whose argmax is on the stack */
    CHUNK_BYTES = 512 << 10, /* of an input gradient that are cleared, and then still in L2 for what is not zero */
};

static const fl_pool_plane_ukernels *const ukernels[] = {FL_ISA_ROWS(pool_plane)};

/* One of source and result has one element for each channel, the other one for each pixel of it. */
typedef struct {
    const fl_pool_plane_ukernels *uk;
    ptrdiff_t channels, pixels;
    const fl_real *source;
    fl_real *result;
    void *argmax; /* or NULL; of bytes if narrow, else of int32 */
    int narrow;
} job_t;

int FL(pool_is_global)(const fl_window *w) {
    return w->oh == 1 && w->ow == 1 && w->kh == w->h && w->kw == w->w && w->dh == 1 && w->dw == 1 && w->top == 0 &&
           w->left == 0;
}

static void run(const fl_pool *pool, job_t job, ptrdiff_t tasks, fl_body *body) {
    const double elements = (double)pool->batch * (double)pool->channels * (double)job.pixels;
    if (tasks) fl_parallel(fl_team(pool->threads, tasks, 4 * sizeof(fl_real) * elements), tasks, body, &job);
}

static job_t job_of(const fl_pool *pool, const void *source, void *result, const void *argmax) {
    const fl_window *w = &pool->window;
    return (job_t){.uk = ukernels[pool->isa], .channels = pool->channels_first ? 1 : pool->channels, .pixels = w->h * w->w,
                   .source = source, .result = result, .argmax = (void *)argmax, .narrow = w->h * w->w <= 256};
}

/* ---- maximum ---- */

static void max_planes(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    fl_int argmax[BLOCK];
    for (ptrdiff_t plane = begin; plane < end; plane += BLOCK) {
        const ptrdiff_t planes = FL_MIN(BLOCK, end - plane);
        job->uk->max(planes, job->pixels, job->source + plane * job->pixels, job->result + plane, argmax);
        for (ptrdiff_t i = 0; job->argmax && i < planes; i++)
            if (job->narrow) ((uint8_t *)job->argmax)[plane + i] = (uint8_t)argmax[i];
            else ((int32_t *)job->argmax)[plane + i] = (int32_t)argmax[i];
    }
}

void FL(pool_global_max)(const fl_pool *pool, const void *x, void *y, void *argmax) {
    run(pool, job_of(pool, x, y, argmax), pool->batch * pool->channels, max_planes);
}

/* Tasks are pixels, all channels of them. */
static void clear_and_place(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    const ptrdiff_t chunk = FL_MAX(1, CHUNK_BYTES / (ptrdiff_t)sizeof(fl_real) / job->channels), images = chunk / job->pixels;
    for (ptrdiff_t from = begin, to; from < end; from = to) {
        to = FL_MIN(end, images ? (from / job->pixels + images) * job->pixels : from + chunk);
        memset(job->result + from * job->channels, 0, (size_t)((to - from) * job->channels) * sizeof(fl_real));
        for (ptrdiff_t image = from / job->pixels; image * job->pixels < to; image++)
            for (ptrdiff_t c = 0; c < job->channels; c++) {
                const ptrdiff_t result = image * job->channels + c;
                const ptrdiff_t tap = job->narrow ? ((uint8_t *)job->argmax)[result] : ((int32_t *)job->argmax)[result];
                const ptrdiff_t pixel = image * job->pixels + tap;
                if (tap >= 0 && tap < job->pixels && pixel >= from && pixel < to)
                    job->result[pixel * job->channels + c] = job->source[result];
            }
    }
}

void FL(pool_global_max_backward)(const fl_pool *pool, const void *dy, const void *argmax, void *dx) {
    const job_t job = job_of(pool, dy, dx, argmax);
    if (pool->channels) run(pool, job, pool->batch * pool->channels / job.channels * job.pixels, clear_and_place);
}

/* ---- average ---- */

static void average_planes(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    job->uk->average(end - begin, job->pixels, job->source + begin * job->pixels, job->result + begin);
}

static void spread_planes(void *job_, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job_t *job = job_;
    job->uk->spread(end - begin, job->pixels, job->source + begin, job->result + begin * job->pixels);
}

void FL(pool_global_average)(const fl_pool *pool, const void *x, void *y) {
    run(pool, job_of(pool, x, y, NULL), pool->batch * pool->channels, average_planes);
}

void FL(pool_global_average_backward)(const fl_pool *pool, const void *dy, void *dx) {
    run(pool, job_of(pool, dy, dx, NULL), pool->batch * pool->channels, spread_planes);
}
