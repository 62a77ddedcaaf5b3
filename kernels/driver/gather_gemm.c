/* A matrix product whose left rows are gathered from an image; see gather.h.
 *
 *     loop 5   column chunks, so that the packed weights stay within FL_PACKED_BYTES      (one barrier each)
 *     loop 4   tasks = column split x block of pixels x grid, shared out over the team
 *     loop 3   k blocks, when a single tap is deep
 *     loop 2   column panels of the chunk
 *     loop 1   groups of mr pixels: the register tile, its rows read through a table of pointers
 */
#include "gather.h"

#include "blocking.h"
#include "buffers.h"
#include "gemm_ukernels.h"
#include "panels.h"
#include "parallel.h"

enum { MIN_TASKS = 32 }; /* enough for any team to share evenly */

static const fl_gemm_ukernels *const ukernels[] = {FL_ISA_ROWS(gemm)};

/* What the threads read: the problem, the way it is cut up, and the weights as packed so far. */
typedef struct {
    const fl_gather *g;
    const fl_gemm_ukernels *uk;
    ptrdiff_t block, splits;
    ptrdiff_t blocks; /* of all grids, which take turns: they read the same pixels, and each thread gets some of each */
    ptrdiff_t panels_per_group, panels;
    ptrdiff_t first_panel, chunk_panels; /* loop 5 */
    int direct;                          /* whole panels are read from the weights as they stand */
    fl_real *packed;
    ptrdiff_t slots; /* packed panels of each grid */
    ptrdiff_t depth; /* rows of such panels, over all grids */
    char *scratch;
    ptrdiff_t scratch_bytes;
} plan;

static ptrdiff_t blocks_of(const plan *p, const fl_grid *grid) { return fl_ceil_div(fl_grid_pixels(p->g, grid), p->block); }

/* ---- weights ---- */

static ptrdiff_t panel_columns(const plan *p, ptrdiff_t panel) {
    ptrdiff_t first = panel % p->panels_per_group * p->uk->nr;
    return FL_MIN(p->uk->nr, p->g->n - first);
}
static int read_in_place(const plan *p, ptrdiff_t columns) { return p->direct && columns == fl_panel_width(p->uk, columns); }

static const fl_real *panel_weights(const plan *p, ptrdiff_t panel) {
    ptrdiff_t group = panel / p->panels_per_group, first = panel % p->panels_per_group * p->uk->nr;
    return p->g->weights + group * p->g->w_group + first * p->g->w_n;
}

static fl_real *packed_panel(const plan *p, const fl_grid *grid, ptrdiff_t panel) {
    ptrdiff_t slot = p->direct ? panel / p->panels_per_group : panel - p->first_panel;
    return p->packed + (grid->first_tap * p->slots + slot * fl_grid_taps(grid)) * p->g->k * p->uk->nr;
}

static void pack(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    (void)thread;
    const plan *p = job;
    const fl_gather *g = p->g;
    for (ptrdiff_t task = begin; task < end; task++) {
        const fl_grid *grid = &g->grids[task / p->chunk_panels];
        ptrdiff_t panel = p->first_panel + task % p->chunk_panels;
        ptrdiff_t columns = panel_columns(p, panel), width = fl_panel_width(p->uk, columns);
        if (read_in_place(p, columns)) continue;
        fl_real *to = packed_panel(p, grid, panel);
        for (ptrdiff_t i = 0; i < grid->taps_y; i++)
            for (ptrdiff_t j = 0; j < grid->taps_x; j++, to += g->k * width) {
                ptrdiff_t tap = grid->weight_y[i] + grid->weight_x[j];
                FL(pack_panel)(g->k, columns, panel_weights(p, panel) + tap * g->w_tap, g->w_k, g->w_n, to, width, g->isa);
            }
    }
}

/* ---- tiles ---- */

/* Loops 2 and 1 over one k block. */
static void run_panels(const plan *p, const fl_grid *grid, const fl_table *table, ptrdiff_t pixels, ptrdiff_t first_panel,
                       ptrdiff_t last_panel, ptrdiff_t k0, ptrdiff_t k1) {
    const fl_gather *g = p->g;
    const ptrdiff_t mr = p->uk->mr;
    const int last = k1 == table->k;
    for (ptrdiff_t panel = first_panel; panel < last_panel; panel++) {
        ptrdiff_t group = panel / p->panels_per_group, columns = panel_columns(p, panel);
        ptrdiff_t width = fl_panel_width(p->uk, columns), first = group * g->n + panel % p->panels_per_group * p->uk->nr;
        int in_place = read_in_place(p, columns);
        ptrdiff_t b_k = in_place ? g->w_k : width;
        const fl_real *b = in_place ? panel_weights(p, panel) : packed_panel(p, grid, panel);
        fl_tile tile = {.taps = table->taps, .k = k1 - k0, .a_next = table->tap_step ? 0 : mr, .a_step = table->tap_step,
                        .a_offset = group * g->k + k0, .a_k = 1,
                        .b = b + k0 * b_k, .b_next = table->k * b_k, .b_k = b_k, .c_offset = first, .n = columns,
                        .accumulate = k0 > 0, .bias = g->bias && last ? g->bias + first : NULL,
                        .activation = last ? g->activation : 0, .alpha = g->alpha};
        fl_run_tile *run = fl_tile_of_width(p->uk, width);
        for (ptrdiff_t pixel = 0; pixel < pixels; pixel += mr) {
            tile.a = table->rows + pixel * table->pointers;
            if (!table->tap_step) tile.taps = table->kept[pixel / mr], tile.order = table->order + pixel / mr * table->pointers;
            tile.c = table->out + pixel;
            run(&tile);
        }
    }
}

static void run_tasks(void *job, ptrdiff_t begin, ptrdiff_t end, int thread) {
    const plan *p = job;
    const fl_gather *g = p->g;
    fl_table table = FL(table_in)(g, p->uk->mr, p->block, p->scratch + thread * p->scratch_bytes);
    for (ptrdiff_t task = begin; task < end; task++) {
        ptrdiff_t split = task / p->blocks, block = task % p->blocks;
        const fl_grid *grid = &g->grids[block % g->grid_count];
        ptrdiff_t first = block / g->grid_count * p->block, pixels = FL_MIN(p->block, fl_grid_pixels(g, grid) - first);
        if (pixels <= 0) continue;
        ptrdiff_t first_panel = p->first_panel + p->chunk_panels * split / p->splits;
        ptrdiff_t last_panel = p->first_panel + p->chunk_panels * (split + 1) / p->splits;
        FL(build_table)(g, grid, first, pixels, &table);
        ptrdiff_t k_block = table.taps == 1 && table.k > 2 * FL_K_BLOCK ? FL_K_BLOCK : FL_MAX(1, table.k), k0 = 0;
        do {
            run_panels(p, grid, &table, pixels, first_panel, last_panel, k0, FL_MIN(table.k, k0 + k_block));
            k0 += k_block;
        } while (k0 < table.k);
    }
}

/* ---- plan ---- */

static int in_memory_order(const fl_grid *grid) {
    for (ptrdiff_t j = 0; j < grid->taps_x; j++)
        if (grid->weight_x[j] != j) return 0;
    for (ptrdiff_t i = 0; i < grid->taps_y; i++)
        if (grid->weight_y[i] != i * grid->taps_x) return 0;
    return 1;
}

/* Packing reads the weights once more: with few pixels it would cost as much as the product itself. */
static int reads_weights_in_place(const fl_gather *g) {
    return g->w_n == 1 && g->w_tap == g->k * g->w_k && g->grid_count == 1 && in_memory_order(g->grids) &&
           fl_grid_pixels(g, g->grids) < FL_IN_PLACE_BELOW;
}

static plan make_plan(const fl_gather *g) {
    plan p = {.g = g, .uk = ukernels[g->isa]};
    const fl_grid *last = &g->grids[g->grid_count - 1];
    ptrdiff_t pixels = 0, mr = p.uk->mr;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) pixels += fl_grid_pixels(g, &g->grids[i]);
    p.block = FL_MAX(mr, FL_MIN(FL(table_pixels)(g), pixels / 8) / mr * mr);
    for (ptrdiff_t i = 0; i < g->grid_count; i++) p.blocks = FL_MAX(p.blocks, g->grid_count * blocks_of(&p, &g->grids[i]));
    p.panels_per_group = fl_ceil_div(g->n, p.uk->nr);
    p.panels = g->groups * p.panels_per_group;
    p.direct = reads_weights_in_place(g);
    p.depth = (last->first_tap + fl_grid_taps(last)) * g->k;
    ptrdiff_t panel_bytes = FL_MAX(1, p.depth * p.uk->nr * (ptrdiff_t)sizeof(fl_real));
    p.chunk_panels = p.direct ? p.panels : FL_MAX(1, FL_MIN(p.panels, FL_PACKED_BYTES / panel_bytes));
    p.slots = p.direct ? g->groups : p.chunk_panels;
    p.splits = FL_MIN(p.chunk_panels, fl_ceil_div(MIN_TASKS, FL_MAX(1, p.blocks)));
    p.scratch_bytes = FL(table_bytes)(g, mr, p.block);
    return p;
}

int FL(gather_gemm)(const fl_gather *g) {
    plan p = make_plan(g);
    if (p.blocks == 0 || p.panels == 0) return FL_OK;
    const double work = 2.0 * (double)(p.blocks * p.block) * (double)p.depth / (double)g->grid_count * (double)(g->groups * g->n);
    int team = fl_team(g->threads, p.splits * p.blocks, work);
    const size_t scratch = (size_t)(team * p.scratch_bytes);
    const size_t bytes = scratch + (size_t)(p.slots * p.depth * p.uk->nr) * sizeof(fl_real);
    p.scratch = fl_buffer_get(bytes);
    if (!p.scratch) return FL_ENOMEM;
    p.packed = (fl_real *)(p.scratch + scratch);

    const ptrdiff_t most = p.chunk_panels;
    for (; p.first_panel < p.panels; p.first_panel += most) {
        p.chunk_panels = FL_MIN(most, p.panels - p.first_panel);
        p.splits = FL_MIN(p.splits, p.chunk_panels);
        fl_parallel(FL_MIN(team, g->grid_count * p.chunk_panels), g->grid_count * p.chunk_panels, pack, &p);
        fl_parallel(team, p.splits * p.blocks, run_tasks, &p);
    }
    fl_buffer_put(p.scratch, bytes);
    return FL_OK;
}
