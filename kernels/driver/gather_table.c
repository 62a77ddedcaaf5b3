/* The table of pointers behind a gathered product: for a block of output pixels, where each tap reads. */
#include <string.h>

#include "blocking.h"
#include "gather.h"

static ptrdiff_t max_of_grids(const fl_gather *g, ptrdiff_t (*value)(const fl_gather *, const fl_grid *)) {
    ptrdiff_t most = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) most = FL_MAX(most, value(g, &g->grids[i]));
    return most;
}

static ptrdiff_t taps_of(const fl_gather *g, const fl_grid *grid) { return (void)g, fl_grid_taps(grid); }
static ptrdiff_t run_of(const fl_gather *g, const fl_grid *grid) { return grid->taps_x * g->channels; }

/* With few channels, the taps of one kernel row are neighbours in memory once the image row has its padding. */
static int merges_taps(const fl_gather *g, const fl_grid *grid) {
    if (g->groups != 1 || g->channels >= FL_MERGE_BELOW || grid->taps_x < 2) return 0;
    for (ptrdiff_t j = 1; j < grid->taps_x; j++)
        if (grid->tap_x[j] != grid->tap_x[j - 1] + 1) return 0;
    return 1;
}

static ptrdiff_t padded_width(const fl_grid *grid) { return (grid->cols - 1) * grid->x_step + grid->taps_x; }

static ptrdiff_t runs_size(const fl_gather *g, const fl_grid *grid, ptrdiff_t block) {
    ptrdiff_t image_rows = block / FL_MAX(1, grid->cols) + 2;
    return merges_taps(g, grid) ? image_rows * grid->taps_y * padded_width(grid) * g->channels : 0;
}

static ptrdiff_t pointers_in_rows(const fl_gather *g, ptrdiff_t block) { return block * FL_MAX(1, max_of_grids(g, taps_of)); }
static ptrdiff_t size_of_zeros(const fl_gather *g) { return FL_MAX(g->channels, max_of_grids(g, run_of)); }

ptrdiff_t FL(table_bytes)(const fl_gather *g, ptrdiff_t block) {
    ptrdiff_t runs = 0;
    for (ptrdiff_t i = 0; i < g->grid_count; i++) runs = FL_MAX(runs, runs_size(g, &g->grids[i], block));
    ptrdiff_t pointers = pointers_in_rows(g, block) + block, reals = size_of_zeros(g) + g->groups * g->n + runs;
    return (ptrdiff_t)(pointers * sizeof(void *) + reals * sizeof(fl_real) + 127) / 64 * 64;
}

fl_table FL(table_in)(const fl_gather *g, ptrdiff_t block, char *scratch) {
    fl_table table;
    table.rows = (const fl_real **)scratch;
    table.out = (fl_real **)(table.rows + pointers_in_rows(g, block));
    table.zeros = (fl_real *)(table.out + block);
    table.nowhere = table.zeros + size_of_zeros(g);
    table.runs = table.nowhere + g->groups * g->n;
    memset(table.zeros, 0, (size_t)size_of_zeros(g) * sizeof(fl_real));
    return table;
}

/* Point lane `lane` of every tap at the pixel it reads. */
static void point_taps(const fl_gather *g, const fl_grid *grid, const fl_table *table, ptrdiff_t image, ptrdiff_t r,
                       ptrdiff_t c, const fl_real **lane, ptrdiff_t mr) {
    for (ptrdiff_t i = 0; i < grid->taps_y; i++) {
        ptrdiff_t y = r * grid->y_step + grid->tap_y[i];
        const fl_real *row = y >= 0 && y < g->h ? g->x + (image * g->h + y) * g->w * g->channels : NULL;
        for (ptrdiff_t j = 0; j < grid->taps_x; j++, lane += mr) {
            ptrdiff_t x = c * grid->x_step + grid->tap_x[j];
            *lane = row && x >= 0 && x < g->w ? row + x * g->channels : table->zeros;
        }
    }
}

/* Copy the image rows under output row r, with their horizontal padding. */
static void copy_runs(const fl_gather *g, const fl_grid *grid, ptrdiff_t image, ptrdiff_t r, fl_real *to) {
    ptrdiff_t width = padded_width(grid), left = FL_MIN(width, FL_MAX(0, -grid->tap_x[0]));
    ptrdiff_t from = FL_MAX(0, grid->tap_x[0]), inside = FL_MAX(0, FL_MIN(g->w - from, width - left));
    for (ptrdiff_t i = 0; i < grid->taps_y; i++, to += width * g->channels) {
        ptrdiff_t y = r * grid->y_step + grid->tap_y[i];
        memset(to, 0, (size_t)(width * g->channels) * sizeof *to);
        if (y >= 0 && y < g->h && inside > 0)
            memcpy(to + left * g->channels, g->x + ((image * g->h + y) * g->w + from) * g->channels,
                   (size_t)(inside * g->channels) * sizeof *to);
    }
}

void FL(build_table)(const fl_gather *g, const fl_grid *grid, ptrdiff_t mr, ptrdiff_t first, ptrdiff_t pixels, fl_table *table) {
    const int merged = merges_taps(g, grid);
    const ptrdiff_t run = padded_width(grid) * g->channels; /* one image row in runs */
    table->taps = merged ? grid->taps_y : fl_grid_taps(grid);
    table->k = merged ? grid->taps_x * g->k : g->k;
    table->tap_step = merged ? run : 0;
    table->pointers = merged ? 1 : table->taps;
    ptrdiff_t image = first / (grid->rows * grid->cols), r = first / grid->cols % grid->rows, c = first % grid->cols;
    fl_real *runs = table->runs;
    if (merged) copy_runs(g, grid, image, r, runs);
    const fl_real **lane = table->rows;
    for (ptrdiff_t pixel = 0, in_group = 0; pixel < pixels || in_group; pixel++, lane++) {
        if (pixel >= pixels) { /* past the end: anything that can be read */
            table->out[pixel] = table->nowhere;
            for (ptrdiff_t tap = 0; tap < table->pointers; tap++) lane[tap * mr] = merged ? table->runs : table->zeros;
        } else {
            if (c == grid->cols) {
                c = 0;
                if (++r == grid->rows) r = 0, image++;
                if (merged) copy_runs(g, grid, image, r, runs += grid->taps_y * run);
            }
            table->out[pixel] = g->y + image * g->y_image + grid->out_offset + r * grid->out_row + c * grid->out_col;
            if (merged)
                *lane = runs + c * grid->x_step * g->channels;
            else
                point_taps(g, grid, table, image, r, c, lane, mr);
            c++;
        }
        if (++in_group == mr) in_group = 0, lane += (table->pointers - 1) * mr;
    }
}
