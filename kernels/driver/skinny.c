/* Dense layers over few rows, where reading the weights is what takes the time: they are not packed, and each is touched
 * once, in long runs.
 *
 *     forward   columns of y shared out; a stripe of y stays in the near caches while runs of the rows of W stream past
 *     dx        rows of W shared out; each is multiplied with every row of dy while it is in L1
 *     dW        rows of it shared out, written in one run; past the caches, where they could not hold it */
#include <stdint.h>
#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "dense_algorithms.h"
#include "parallel.h"
#include "skinny_ukernels.h"
#include "sum_rows.h"

enum {
    STRIPE_BYTES = 48 << 10, /* of y at work on */
    ROW_BYTES = 16 << 10,    /* of a row of it */
    PAGE = 4096,
    FEW_ROWS = 16,           /* too few to hide that each load of W crosses a cache line */
    COLUMNS = 64,            /* of y in a task */
    ROWS = 24,               /* of W in a task: a multiple of all tiles */
    DOT_BYTES = 128 << 10,   /* of dy that dots are taken with at once */
    SHORTEST_RUN = 1024,     /* but no fewer columns than these */
    STREAM_BYTES = 32 << 20, /* of dW, more than caches hold */
};

static const fl_skinny_ukernels *const ukernels[] = {FL_ISA_ROWS(skinny)};

typedef struct {
    const fl_dense *d;
    const fl_skinny_ukernels *uk;
    const fl_real *x, *kernel, *bias, *dy;
    fl_real *y, *dx, *dkernel;
    int activation;
    fl_real alpha;
    fl_real *packed; /* dx: all of dy, run by run */
    ptrdiff_t run;   /* columns of a run */
} job;

/* ---- forward ---- */

/* Where in a page the sums of a stripe begin: half a page away from w, since a load of w that has the place of a recent store
 * in another page would wait for it.  With few rows, vectors as long as a cache line begin where lines of w do. */
static ptrdiff_t place(const job *p, ptrdiff_t rows, const fl_real *w) {
    const ptrdiff_t line = FL_LINE / sizeof *w, there = (ptrdiff_t)(((uintptr_t)w + PAGE / 2) % PAGE / sizeof *w);
    return rows <= FEW_ROWS && p->uk->lanes == line && p->d->units % line == 0 ? there : there / line * line;
}

static void stripe(const job *p, ptrdiff_t first_row, ptrdiff_t rows, ptrdiff_t first, ptrdiff_t n) {
    const ptrdiff_t inputs = p->d->inputs, units = p->d->units, lanes = p->uk->lanes;
    const fl_real *w = p->kernel + first;
    /* a vector to spare, and an odd number of them: rows a power of two apart would share a cache set */
    const ptrdiff_t width = (fl_ceil_div(n + lanes - 1, lanes) | 1) * lanes;
    _Alignas(PAGE) fl_real pages[(STRIPE_BYTES + 2 * PAGE) / sizeof(fl_real)];
    fl_real *sums = pages + place(p, rows, w);
    p->uk->rows(rows, inputs, n, p->x + first_row * inputs, inputs, w, units, sums, width);
    for (ptrdiff_t m = 0; m < rows; m++)
        p->uk->finish(n, sums + m * width, p->bias ? p->bias + first : NULL, p->y + (first_row + m) * units + first,
                      p->activation, p->alpha);
}

static void forward_columns(void *untyped, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job *p = untyped;
    ptrdiff_t last = FL_MIN(p->d->units, end * COLUMNS);
    for (ptrdiff_t row = 0; row < p->d->rows; row += FL_SKINNY_ROWS) {
        ptrdiff_t rows = FL_MIN(FL_SKINNY_ROWS, p->d->rows - row);
        ptrdiff_t wide = FL_MIN(ROW_BYTES, STRIPE_BYTES / rows) / (ptrdiff_t)sizeof(fl_real) / COLUMNS * COLUMNS;
        for (ptrdiff_t first = begin * COLUMNS; first < last; first += wide) stripe(p, row, rows, first, FL_MIN(wide, last - first));
    }
}

int FL(skinny_forward)(const fl_dense *d, const void *x, const void *kernel, const void *bias, void *y, int activation,
                       double alpha) {
    job p = {.d = d, .uk = ukernels[d->isa], .x = x, .kernel = kernel, .bias = bias, .y = y, .activation = activation,
             .alpha = (fl_real)alpha};
    ptrdiff_t tasks = fl_ceil_div(d->units, COLUMNS);
    fl_parallel(fl_team(d->threads, tasks, FL(dense_work)(d)), tasks, forward_columns, &p);
    return FL_OK;
}

/* ---- dx ---- */

/* Rows [begin, end) of W, a run of its columns after the other. */
static void input_rows(void *untyped, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const job *p = untyped;
    const ptrdiff_t rows = p->d->rows, inputs = p->d->inputs, units = p->d->units, last = FL_MIN(inputs, end * ROWS);
    for (ptrdiff_t first = begin * ROWS; first < last; first += ROWS) {
        for (ptrdiff_t run = 0; run < units; run += p->run)
            p->uk->dots(rows, FL_MIN(ROWS, last - first), FL_MIN(p->run, units - run), p->packed + run * rows,
                        p->kernel + first * units + run, units, p->dx + first, inputs, run > 0);
    }
}

int FL(skinny_backward_input)(const fl_dense *d, const void *dy, const void *kernel, void *dx) {
    if (d->units == 0) memset(dx, 0, (size_t)(d->rows * d->inputs) * sizeof(fl_real));
    if (d->units == 0 || d->rows == 0) return FL_OK;
    job p = {.d = d, .uk = ukernels[d->isa], .dy = dy, .kernel = kernel, .dx = dx};
    const size_t bytes = (size_t)(d->rows * fl_ceil_div(d->units, p.uk->lanes) * p.uk->lanes) * sizeof(fl_real);
    p.run = FL_MAX(SHORTEST_RUN, DOT_BYTES / (ptrdiff_t)sizeof(fl_real) / d->rows / p.uk->lanes * p.uk->lanes);
    p.packed = fl_buffer_get(bytes);
    if (!p.packed) return FL_ENOMEM;
    for (ptrdiff_t run = 0; run < d->units; run += p.run)
        p.uk->pack(d->rows, FL_MIN(p.run, d->units - run), p.dy + run, d->units, p.packed + run * d->rows);
    ptrdiff_t tasks = fl_ceil_div(d->inputs, ROWS);
    fl_parallel(fl_team(d->threads, tasks, FL(dense_work)(d)), tasks, input_rows, &p);
    fl_buffer_put(p.packed, bytes);
    return FL_OK;
}

/* ---- dW ---- */

/* Rows [begin, end) of dW, some columns after the others; of dy there is a copy, half a page away from where it is needed. */
static void weight_rows(void *untyped, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    enum { WIDE = ROW_BYTES / sizeof(fl_real) };
    const job *p = untyped;
    const ptrdiff_t inputs = p->d->inputs, units = p->d->units, row = begin * ROWS, rows = FL_MIN(inputs, end * ROWS) - row;
    const int large = inputs * units * (ptrdiff_t)sizeof(fl_real) >= STREAM_BYTES;
    const int stream = large && (uintptr_t)p->dkernel % FL_LINE == 0 && units % p->uk->lanes == 0;
    _Alignas(PAGE) fl_real pages[FL_SKINNY_OUTER * WIDE + PAGE / sizeof(fl_real)];
    for (ptrdiff_t first = 0; first < units; first += WIDE) {
        const ptrdiff_t n = FL_MIN(WIDE, units - first);
        fl_real *dw = p->dkernel + row * units + first, *dy = pages + ((uintptr_t)dw + PAGE / 2) % PAGE / FL_LINE * FL_LINE / sizeof *dw;
        for (ptrdiff_t m = 0; m < p->d->rows; m++) memcpy(dy + m * WIDE, p->dy + m * units + first, (size_t)n * sizeof *dy);
        p->uk->outer(p->d->rows, rows, n, p->x + row, inputs, dy, WIDE, dw, units, stream);
    }
}

int FL(skinny_backward_weight)(const fl_dense *d, const void *x, const void *dy, void *dkernel, void *dbias) {
    job p = {.d = d, .uk = ukernels[d->isa], .x = x, .dy = dy, .dkernel = dkernel};
    ptrdiff_t tasks = fl_ceil_div(d->inputs, ROWS);
    fl_parallel(fl_team(d->threads, tasks, FL(dense_work)(d)), tasks, weight_rows, &p);
    return dbias ? FL(sum_rows)(d->rows, d->units, dy, dbias, d->isa, 1) : FL_OK;
}
