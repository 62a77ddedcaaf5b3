/* The input gradient where x has few channels: gathering would leave most lanes of a vector empty.
 *
 * The products of a pixel of dy with the weights of all taps, P(p, (i, j, c)) = sum over o of dy(p, o) W(i, j, c, o), are
 * rows of an ordinary product, and a kernel row of them is one run in dx, to which it is added.
 *
 *     loop 2   images, shared out over the team: one thread adds up all of an image, pixel after pixel
 *     loop 1   blocks of pixels: P in cache by the register tile, then added
 */
#include <string.h>

#include "blocking.h"
#include "buffers.h"
#include "conv_algorithms.h"
#include "gemm_ukernels.h"
#include "panels.h"
#include "parallel.h"

static const fl_gemm_ukernels *const ukernels[] = {FL_ISA_ROWS(gemm)};

typedef struct {
    const fl_conv *c;
    const fl_gemm_ukernels *uk;
    const fl_real *dy;
    fl_real *dx;
    ptrdiff_t products, panels, row; /* of a pixel: how many, in panels of nr, row elements from a pixel to the next */
    ptrdiff_t block;                 /* pixels */
    fl_real *packed;                 /* [panel][filter][nr] */
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

/* P of pixels [first, first + pixels) of all of dy; the rows of a whole number of tiles are written. */
static void multiply(const plan *p, ptrdiff_t first, ptrdiff_t pixels, const fl_real **in, fl_real **out, fl_real *products) {
    const ptrdiff_t mr = p->uk->mr, nr = p->uk->nr, k = p->c->filters;
    for (ptrdiff_t i = 0; i < fl_ceil_div(pixels, mr) * mr; i++) {
        in[i] = p->dy + (first + FL_MIN(i, pixels - 1)) * k; /* past the end: the last one again */
        out[i] = products + i * p->row;
    }
    for (ptrdiff_t panel = 0; panel < p->panels; panel++) {
        fl_tile tile = {.taps = 1, .k = k, .a_k = 1, .b = p->packed + panel * k * nr, .b_k = nr, .c_offset = panel * nr, .n = nr};
        for (ptrdiff_t i = 0; i < pixels; i += mr) {
            tile.a = in + i;
            tile.c = out + i;
            p->uk->tile(&tile);
        }
    }
}

/* Add the products of output pixel (r, q) to one image of dx. */
static void add_pixel(const fl_conv *c, ptrdiff_t r, ptrdiff_t q, const fl_real *products, fl_real *image) {
    const fl_window *w = &c->window;
    const ptrdiff_t x = q * w->sw - w->left, begin = FL_MAX(0, -x), end = FL_MIN(w->kw, w->w - x);
    for (ptrdiff_t i = 0; i < w->kh; i++) {
        const ptrdiff_t y = r * w->sh - w->top + i * w->dh;
        if (y < 0 || y >= w->h) continue;
        const fl_real *from = products + i * w->kw * c->channels;
        fl_real *to = image + (y * w->w + x) * c->channels;
        for (ptrdiff_t j = begin * c->channels; j < end * c->channels; j++) to[j] += from[j];
    }
}

static void run_images(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const fl_window *w = &p->c->window;
    const ptrdiff_t pixels = w->oh * w->ow, image_size = w->h * w->w * p->c->channels;
    const fl_real **in = (const fl_real **)(p->scratch + thread * p->scratch_bytes);
    fl_real **out = (fl_real **)(in + p->block), *products = (fl_real *)(out + p->block);
    for (ptrdiff_t image = begin; image < end; image++) {
        fl_real *dx = p->dx + image * image_size;
        memset(dx, 0, (size_t)image_size * sizeof *dx);
        for (ptrdiff_t first = 0; first < pixels; first += p->block) {
            const ptrdiff_t count = FL_MIN(p->block, pixels - first);
            multiply(p, image * pixels + first, count, in, out, products);
            for (ptrdiff_t i = 0; i < count; i++)
                add_pixel(p->c, (first + i) / w->ow, (first + i) % w->ow, products + i * p->row, dx);
        }
    }
}

int FL(scatter_backward_input)(const fl_conv *c, const void *dy, const void *kernel, void *dx) {
    const fl_window *w = &c->window;
    if (c->batch == 0) return FL_OK;
    plan p = {.c = c, .uk = ukernels[c->isa], .dy = dy, .dx = dx, .products = w->kh * w->kw * c->channels};
    const ptrdiff_t mr = p.uk->mr, nr = p.uk->nr, real = sizeof(fl_real);
    p.panels = fl_ceil_div(p.products, nr);
    p.row = p.panels * nr;
    p.block = fl_ceil_div(FL_BLOCK_PIXELS, mr) * mr;
    p.scratch_bytes = fl_ceil_div(p.block * (2 * (ptrdiff_t)sizeof(void *) + p.row * real), 64) * 64;
    const double work = 2.0 * (double)(c->batch * w->oh * w->ow) * (double)p.products * (double)c->filters;
    const int team = fl_team(c->threads, c->batch, work);
    const size_t scratch = (size_t)(team * p.scratch_bytes), bytes = scratch + (size_t)(p.row * c->filters * real);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    p.packed = (fl_real *)(p.scratch + scratch);
    for (ptrdiff_t panel = 0; panel < p.panels; panel++)
        FL(pack_panel)(c->filters, FL_MIN(nr, p.products - panel * nr), (const fl_real *)kernel + panel * nr * c->filters, 1,
                       c->filters, p.packed + panel * c->filters * nr, nr, c->isa);
    fl_parallel(team, c->batch, run_images, &p);
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}
