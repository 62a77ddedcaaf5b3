/* Images between channels first and channels last: the transposition of a matrix per image, in blocks. */
#include "layout.h"

#include "layout_ukernels.h"
#include "parallel.h"

enum { BLOCK = 64 }; /* rows and columns of a task: what it reads and what it writes stay in L1 or close by */

static const fl_layout_ukernels *const ukernels[] = {FL_ISA_ROWS(layout)};

typedef struct {
    ptrdiff_t rows, cols, row_blocks, col_blocks;
    const fl_real *x;
    fl_real *y;
    const fl_layout_ukernels *uk;
} transposition;

static void transpose_blocks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const transposition *t = job;
    for (ptrdiff_t task = begin; task < end; task++) {
        const ptrdiff_t row = task % t->row_blocks * BLOCK, col = task / t->row_blocks % t->col_blocks * BLOCK;
        const ptrdiff_t image = task / (t->row_blocks * t->col_blocks) * t->rows * t->cols;
        t->uk->transpose(FL_MIN(BLOCK, t->rows - row), FL_MIN(BLOCK, t->cols - col), t->x + image + row * t->cols + col,
                         t->cols, t->y + image + col * t->rows + row, t->rows);
    }
}

/* y (n, cols, rows) = x (n, rows, cols) */
static void transpose_images(ptrdiff_t n, ptrdiff_t rows, ptrdiff_t cols, const fl_real *x, fl_real *y, int isa,
                             int threads) {
    transposition t = {.rows = rows, .cols = cols, .row_blocks = fl_ceil_div(rows, BLOCK),
                       .col_blocks = fl_ceil_div(cols, BLOCK), .x = x, .y = y, .uk = ukernels[isa]};
    const ptrdiff_t tasks = n * t.row_blocks * t.col_blocks;
    const double bytes = 2.0 * (double)n * (double)rows * (double)cols * sizeof *x;
    fl_parallel(fl_team(threads, tasks, 4 * bytes), tasks, transpose_blocks, &t);
}

void FL(nchw_to_nhwc)(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const fl_real *x, fl_real *y, int isa, int threads) {
    transpose_images(n, c, hw, x, y, isa, threads);
}

void FL(nhwc_to_nchw)(ptrdiff_t n, ptrdiff_t c, ptrdiff_t hw, const fl_real *x, fl_real *y, int isa, int threads) {
    transpose_images(n, hw, c, x, y, isa, threads);
}
