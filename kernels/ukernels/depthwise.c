/* Depthwise convolution: a few output columns x one vector of channels in registers. */
#include "activation_ukernels.h"
#include "depthwise_ukernels.h"
#include "varray.h"

enum { COLS = FL_DEPTHWISE_COLS, FEW = 4, MAX_TAPS = 5, BLOCK = FL_DEPTHWISE_BLOCK };

#define UNROLL _Pragma("GCC unroll 32")

/* n is VL, known to the compiler, for all but the last vector of a pixel. */
FL_INLINE vreal load(const fl_real *p, ptrdiff_t n) { return n == VL ? vload(p) : vload_part(p, n); }
FL_INLINE void store(fl_real *p, vreal v, ptrdiff_t n) {
    if (n == VL) vstore(p, v);
    else vstore_part(p, v, n);
}
FL_INLINE void add_to(fl_real *p, vreal v, ptrdiff_t n) { store(p, load(p, n) + v, n); }

/* Lanes `from` of the vector at p, or the vector as it is (from == NULL: known to the compiler). */
FL_INLINE vreal load_lanes(const fl_real *p, ptrdiff_t n, const vint *from) {
    const vreal v = load(p, n);
    return from ? __builtin_shuffle(v, *from) : v;
}

/* The first lane of each lane's group. */
FL_INLINE vint first_of_groups(ptrdiff_t group) {
    vint lanes;
    for (ptrdiff_t lane = 0; lane < VL; lane++) lanes[lane] = (fl_int)(lane - lane % group);
    return lanes;
}

/* Pixel, or weights of tap, i of a list; the compiler knows whether they are copied, and so where they lie. */
FL_INLINE const fl_real *at(const fl_real *const *list, ptrdiff_t i, const int copied) {
    return copied ? list[0] + i * BLOCK : list[i];
}

/* Fetch, into L2, the vector at c of `cols` pixels of the next row. */
FL_INLINE void fetch(const fl_depthwise_ahead *ahead, ptrdiff_t col, ptrdiff_t cols, ptrdiff_t c) {
    if (!ahead->x) return;
    for (ptrdiff_t i = 0; i < ahead->rows; i++) {
        const fl_real *x = ahead->x + i * ahead->row_step + col * ahead->col_step + c;
        UNROLL for (ptrdiff_t p = 0; p < cols; p++, x += ahead->col_step) __builtin_prefetch(x, 0, 2);
    }
}

/* run(job, taps_x, x_step, copied, grouped) for the job's window, as constants for those that nearly all layers have; taps_x
 * is 0 for a window that the compiler does not know. */
#define WITH_WINDOW(run, job)                                                           \
    const fl_depthwise_window *win = &(job)->window;                                    \
    const ptrdiff_t taps = win->taps_x, x_step = win->tap_step == 1 ? win->x_step : 0;  \
    const int single = win->group == 1, copied = single && win->copied;                 \
    if (copied && x_step == 1 && taps == 3) run(job, 3, 1, 1, 0);                       \
    else if (copied && x_step == 1 && taps == 5) run(job, 5, 1, 1, 0);                  \
    else if (single && x_step == 1 && taps == 2) run(job, 2, 1, 0, 0);                  \
    else if (single && x_step == 1 && taps == 3) run(job, 3, 1, 0, 0);                  \
    else if (single && x_step == 1 && taps == 5) run(job, 5, 1, 0, 0);                  \
    else if (single && x_step == 2 && taps == 3) run(job, 3, 2, 0, 0);                  \
    else if (single && x_step == 2 && taps == 5) run(job, 5, 2, 0, 0);                  \
    else if (single) run(job, 0, 0, 0, 0);                                              \
    else if (x_step == 1 && taps == 2) run(job, 2, 1, 0, 1);                            \
    else if (x_step == 1 && taps == 3) run(job, 3, 1, 0, 1);                            \
    else if (x_step == 2 && taps == 3) run(job, 3, 2, 0, 1);                            \
    else run(job, 0, 0, 0, 1)

/* ---- copies of pixels ---- */

FL_INLINE void copy_channels(ptrdiff_t pixels, const ptrdiff_t n, const fl_real *x, ptrdiff_t step, fl_real *to) {
    for (ptrdiff_t i = 0; i < pixels; i++, x += step, to += BLOCK) {
        ptrdiff_t c = 0;
        UNROLL for (; c + VL <= n; c += VL) vstore(to + c, vload(x + c));
        if (c < n) vstore_part(to + c, vload_part(x + c, n - c), n - c);
    }
}

static void copy(ptrdiff_t pixels, ptrdiff_t n, const fl_real *x, ptrdiff_t step, fl_real *to) {
    if (n == BLOCK) copy_channels(pixels, BLOCK, x, step, to);
    else copy_channels(pixels, n, x, step, to);
}

/* ---- forward and input gradient ---- */

/* sums[p] += the products of one tap row.  Taps are side by side, so each pixel is read once for all of them. */
FL_INLINE void add_tap_row(const fl_real *const *x, ptrdiff_t first, const vint *from, const fl_real *const *w, ptrdiff_t w_step,
                           ptrdiff_t c, ptrdiff_t n, const int cols, const int taps_x, const int x_step, const int copied, vreal *sums) {
    vreal taps[MAX_TAPS];
    UNROLL for (int j = 0; j < taps_x; j++) taps[j] = load(at(w, j * w_step, copied) + c, n);
    UNROLL for (int column = 0; column < (cols - 1) * x_step + taps_x; column++) {
        const vreal pixel = load_lanes(at(x, first + column, copied) + c, n, from);
        UNROLL for (int p = 0; p < cols; p++) {
            const int j = column - p * x_step;
            if (j >= 0 && j < taps_x) sums[p] += taps[j] * pixel;
        }
    }
}

FL_INLINE void add_any_tap_row(const fl_depthwise_window *win, const fl_real *const *x, const vint *from,
                               const fl_real *const *w, ptrdiff_t c, ptrdiff_t n, const int cols, vreal *sums) {
    for (ptrdiff_t j = 0; j < win->taps_x; j++) {
        const vreal tap = load(w[j * win->group] + c, n);
        UNROLL for (int p = 0; p < cols; p++)
            sums[p] += tap * load_lanes(x[p * win->x_step + j * win->tap_step] + c, n, from);
    }
}

/* Channels [c, c + n) of columns [col, col + cols), of which `wanted` are stored. */
FL_INLINE void tile_channels(const fl_depthwise_row *r, ptrdiff_t col, ptrdiff_t wanted, ptrdiff_t c, ptrdiff_t n,
                             const int cols, const int taps_x, const int x_step, const int copied, const int grouped) {
    const fl_depthwise_window *win = &r->window;
    const vint firsts = grouped ? first_of_groups(win->group) : (vint){0};
    vreal sums[COLS] = {{0}};
    const ptrdiff_t first = col * (taps_x ? x_step : win->x_step);
    fetch(&r->ahead, first, taps_x ? cols * x_step : wanted * win->x_step, c);
    for (ptrdiff_t i = 0; i < win->taps_y; i++)
        for (ptrdiff_t k = 0; k < (grouped ? win->group : 1); k++) {
            const fl_real *const *x = win->x[i], *const *w = r->w + i * win->taps_x * win->group + k;
            const vint lanes = firsts + (fl_int)k;
            if (taps_x) add_tap_row(x, first, grouped ? &lanes : NULL, w, win->group, c, n, cols, taps_x, x_step, copied, sums);
            else add_any_tap_row(win, x + first, grouped ? &lanes : NULL, w, c, n, cols, sums);
        }
    const vreal bias = r->bias ? load(r->bias + c, n) : (vreal){0};
    UNROLL for (int p = 0; p < cols; p++) sums[p] += bias;
    if (r->activation == FL_RELU) UNROLL for (int p = 0; p < cols; p++) sums[p] = vzero_where((vint)(sums[p] <= 0), sums[p]);
    const ptrdiff_t step = r->out_step;
    fl_real *out = r->out + col * step + c, *next = out + r->out_ahead;
    if (wanted == cols) UNROLL for (int p = 0; p < cols; p++, out += step, next += step) {
        store(out, sums[p], n);
        __builtin_prefetch(next, 1, 2);
    }
    else UNROLL for (int p = 0; p < cols; p++, out += step) if (p < wanted) store(out, sums[p], n);
}

FL_INLINE void tile(const fl_depthwise_row *r, ptrdiff_t col, ptrdiff_t wanted, const int cols, const int taps_x,
                    const int x_step, const int copied, const int grouped) {
    const ptrdiff_t first = r->window.first, end = first + r->window.n;
    ptrdiff_t c = first;
    for (; c + VL <= end; c += VL) tile_channels(r, col, wanted, c, VL, cols, taps_x, x_step, copied, grouped);
    if (c < end) tile_channels(r, col, wanted, c, end - c, cols, taps_x, x_step, copied, grouped);
    if (r->activation > FL_RELU)
        for (ptrdiff_t p = col; p < col + wanted; p++) {
            fl_real *out = r->out + p * r->out_step + first;
            FL_UK(activation).forward[r->activation](end - first, out, out, r->alpha);
        }
}

FL_INLINE void tiles(const fl_depthwise_row *r, const int taps_x, const int x_step, const int copied, const int grouped) {
    ptrdiff_t col = 0, left;
    for (; (left = r->cols - col) >= COLS; col += COLS) tile(r, col, COLS, COLS, taps_x, x_step, copied, grouped);
    if (left > FEW) tile(r, col, left, COLS, taps_x, x_step, copied, grouped);
    else if (left > 0) tile(r, col, left, FEW, taps_x, x_step, copied, grouped);
}

static void row(const fl_depthwise_row *r) { WITH_WINDOW(tiles, r); }

/* ---- weight gradient ---- */

/* dw[j * step] += the products of one tap row with `cols` columns of dy. */
FL_INLINE void sum_tap_row(const fl_real *const *x, ptrdiff_t first, const vint *from, const vreal *dy, ptrdiff_t c,
                           ptrdiff_t n, const int cols, const int taps_x, const int x_step, const int copied, fl_real *dw, ptrdiff_t step) {
    vreal sums[MAX_TAPS] = {{0}};
    UNROLL for (int column = 0; column < (cols - 1) * x_step + taps_x; column++) {
        const vreal pixel = load_lanes(at(x, first + column, copied) + c, n, from);
        UNROLL for (int j = 0; j < taps_x; j++)
            if (column >= j && (column - j) % x_step == 0 && (column - j) / x_step < cols)
                sums[j] += pixel * dy[(column - j) / x_step];
    }
    UNROLL for (int j = 0; j < taps_x; j++) add_to(dw + j * step, sums[j], n);
}

FL_INLINE void sum_any_tap_row(const fl_depthwise_window *win, const fl_real *const *x, const vint *from, const vreal *dy,
                               ptrdiff_t c, ptrdiff_t n, const int cols, fl_real *dw, ptrdiff_t step) {
    for (ptrdiff_t j = 0; j < win->taps_x; j++) {
        vreal sum = {0};
        UNROLL for (int p = 0; p < cols; p++)
            sum += dy[p] * load_lanes(x[p * win->x_step + j * win->tap_step] + c, n, from);
        add_to(dw + j * step, sum, n);
    }
}

FL_INLINE void sum_channels(const fl_depthwise_sum *s, ptrdiff_t col, ptrdiff_t c, ptrdiff_t n, const int cols,
                            const int taps_x, const int x_step, const int copied, const int grouped) {
    const fl_depthwise_window *win = &s->window;
    const vint firsts = grouped ? first_of_groups(win->group) : (vint){0};
    const fl_real *from = s->dy + col * s->step + c;
    vreal dy[COLS], db = {0};
    const ptrdiff_t first = col * (taps_x ? x_step : win->x_step);
    fetch(&s->ahead, first, cols * (taps_x ? x_step : win->x_step), c);
    UNROLL for (int p = 0; p < cols; p++) {
        db += dy[p] = load(from + p * s->step, n);
        __builtin_prefetch(from + (s->cols + p) * s->step, 0, 2);
    }
    if (s->db) add_to(s->db + c, db, n);
    for (ptrdiff_t i = 0; i < win->taps_y; i++)
        for (ptrdiff_t k = 0; k < (grouped ? win->group : 1); k++) {
            const fl_real *const *x = win->x[i];
            const ptrdiff_t step = win->group * s->dw_step;
            const vint lanes = firsts + (fl_int)k;
            fl_real *dw = s->dw + i * win->taps_x * step + k * s->dw_step + c;
            if (taps_x) sum_tap_row(x, first, grouped ? &lanes : NULL, dy, c, n, cols, taps_x, x_step, copied, dw, step);
            else sum_any_tap_row(win, x + first, grouped ? &lanes : NULL, dy, c, n, cols, dw, step);
        }
}

FL_INLINE void sum_tile(const fl_depthwise_sum *s, ptrdiff_t col, const int cols, const int taps_x, const int x_step,
                        const int copied, const int grouped) {
    ptrdiff_t c = s->window.first, end = c + s->window.n;
    for (; c + VL <= end; c += VL) sum_channels(s, col, c, VL, cols, taps_x, x_step, copied, grouped);
    if (c < end) sum_channels(s, col, c, end - c, cols, taps_x, x_step, copied, grouped);
}

FL_INLINE void sum_tiles(const fl_depthwise_sum *s, const int taps_x, const int x_step, const int copied, const int grouped) {
    ptrdiff_t col = 0;
    for (; col + COLS <= s->cols; col += COLS) sum_tile(s, col, COLS, taps_x, x_step, copied, grouped);
    for (; col < s->cols; col++) sum_tile(s, col, 1, taps_x, x_step, copied, grouped);
}

static void sum(const fl_depthwise_sum *s) { WITH_WINDOW(sum_tiles, s); }

/* Vectors of 16 bytes have no instruction that permutes lanes by number. */
enum { LARGEST_GROUP = FL_VECTOR_BYTES >= 32 ? FL_VECTOR_BYTES / sizeof(fl_real) / 2 : 1 };

const fl_depthwise_ukernels FL_UK(depthwise) = {.largest_group = LARGEST_GROUP, .copy = copy, .row = row, .sum = sum};
