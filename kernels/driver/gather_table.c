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

static int consecutive(ptrdiff_t count, const ptrdiff_t *tap) {
    for (ptrdiff_t i = 1; i < count; i++)
        if (tap[i] != tap[i - 1] + 1) return 0;
    return 1;
}

/* With few channels, the taps of one kernel row are neighbours in memory once the image row has its padding: with more than
 * very few, if a block has whole rows and each of them serves several pixels, so that little is copied twice. */
static int merges_taps(const fl_gather *g, const fl_grid *grid) {
    const int once = grid->taps_x <= grid->cols && 2 * grid->cols <= FL_MERGED_PIXELS;
    const ptrdiff_t most = once ? FL_MERGE_MOST : FL_MERGE_BELOW - 1;
    return g->groups == 1 && g->channels > 0 && g->channels <= most && grid->taps_x > 1 && consecutive(grid->taps_x, grid->tap_x);
}

ptrdiff_t FL(table_pixels)(const fl_gather *g) {
    for (ptrdiff_t i = 0; i < g->grid_count; i++)
        if (!merges_taps(g, &g->grids[i])) return FL_MIN(FL_BLOCK_PIXELS, FL_TABLE_ENTRIES / FL_MAX(1, max_of_grids(g, taps_of)));
    return FL_MERGED_PIXELS;
}

/* Image rows under an output row that were not under the one before. */
static ptrdiff_t fresh_rows(const fl_grid *grid) {
    return consecutive(grid->taps_y, grid->tap_y) ? FL_MIN(grid->taps_y, grid->y_step) : grid->taps_y;
}

static ptrdiff_t padded_width(const fl_grid *grid) { return (grid->cols - 1) * grid->x_step + grid->taps_x; }

static ptrdiff_t runs_size(const fl_gather *g, const fl_grid *grid, ptrdiff_t block) {
    ptrdiff_t output_rows = block / FL_MAX(1, grid->cols) + 2;
    return merges_taps(g, grid) ? output_rows * grid->taps_y * padded_width(grid) * g->channels : 0;
}

/* Pixels a multiple of SET_BYTES apart share one set of L1, which holds fewer than a tile has rows.  Under a single tap each is
 * read for one output pixel alone, so a block's pixels are copied nearer to each other. */
enum { SET_BYTES = 4096, NEAR_SPACE = 64 / sizeof(fl_real), MOST_COPIED = 4096 /* channels */ };

static int copies_pixels(const fl_gather *g, const fl_grid *grid) {
    return fl_grid_taps(grid) == 1 && g->channels <= MOST_COPIED &&
           grid->x_step * g->channels * (ptrdiff_t)sizeof(fl_real) % SET_BYTES == 0;
}

static ptrdiff_t copies_size(const fl_gather *g, const fl_grid *grid, ptrdiff_t block) {
    return copies_pixels(g, grid) ? block * (g->channels + NEAR_SPACE) : runs_size(g, grid, block);
}

static ptrdiff_t most_pointers(const fl_gather *g) { return FL_MAX(1, max_of_grids(g, taps_of)); }
static ptrdiff_t size_of_zeros(const fl_gather *g) { return FL_MAX(g->channels, max_of_grids(g, run_of)); }

ptrdiff_t FL(table_bytes)(const fl_gather *g, ptrdiff_t mr, ptrdiff_t block) {
    ptrdiff_t runs = 0, tiles = fl_ceil_div(block, mr);
    for (ptrdiff_t i = 0; i < g->grid_count; i++) runs = FL_MAX(runs, copies_size(g, &g->grids[i], block));
    ptrdiff_t words = tiles * (mr + 1) * (most_pointers(g) + 1), reals = size_of_zeros(g) + g->groups * g->n + runs;
    return (ptrdiff_t)(words * sizeof(void *) + reals * sizeof(fl_real) + 127) / 64 * 64;
}

fl_table FL(table_in)(const fl_gather *g, ptrdiff_t mr, ptrdiff_t block, char *scratch) {
    const ptrdiff_t tiles = fl_ceil_div(block, mr);
    fl_table table = {.mr = mr};
    table.rows = (const fl_real **)scratch;
    table.out = (fl_real **)(table.rows + tiles * mr * most_pointers(g));
    table.order = (ptrdiff_t *)(table.out + tiles * mr);
    table.kept = table.order + tiles * most_pointers(g);
    table.zeros = (fl_real *)(table.kept + tiles);
    table.nowhere = table.zeros + size_of_zeros(g);
    table.runs = table.nowhere + g->groups * g->n;
    memset(table.zeros, 0, (size_t)size_of_zeros(g) * sizeof(fl_real));
    return table;
}

/* Pixels of one output row: `count` from column c of row r on, numbers `pixel` on in the block. */
typedef struct {
    ptrdiff_t image, r, c, pixel, count;
} segment;

static void point_outputs(const fl_gather *g, const fl_grid *grid, const fl_table *table, segment s) {
    fl_real *y = g->y + s.image * g->y_image + grid->out_offset + s.r * grid->out_row + s.c * grid->out_col;
    for (ptrdiff_t i = 0; i < s.count; i++) table->out[s.pixel + i] = y + i * grid->out_col;
}

/* ---- a pointer for each tap ---- */

static const fl_real **lane_of(const fl_table *table, ptrdiff_t pixel) {
    return table->rows + pixel / table->mr * table->pointers * table->mr + pixel % table->mr;
}

static void point_taps(const fl_gather *g, const fl_grid *grid, const fl_table *table, segment s) {
    for (; s.count; s.count--, s.pixel++, s.c++) {
        const fl_real **lane = lane_of(table, s.pixel);
        for (ptrdiff_t i = 0; i < grid->taps_y; i++) {
            ptrdiff_t y = s.r * grid->y_step + grid->tap_y[i];
            const fl_real *row = y >= 0 && y < g->h ? g->x + (s.image * g->h + y) * g->w * g->channels : NULL;
            for (ptrdiff_t j = 0; j < grid->taps_x; j++, lane += table->mr) {
                ptrdiff_t x = s.c * grid->x_step + grid->tap_x[j];
                *lane = row && x >= 0 && x < g->w ? row + x * g->channels : table->zeros;
            }
        }
    }
}

static int all_zeros(const fl_table *table, const fl_real *const *lanes) {
    for (ptrdiff_t i = 0; i < table->mr; i++)
        if (lanes[i] != table->zeros) return 0;
    return 1;
}

/* Taps that read padding for all pixels of a tile are left out. */
static void drop_padding(const fl_table *table, ptrdiff_t tile) {
    const fl_real **from = table->rows + tile * table->pointers * table->mr, **to = from;
    ptrdiff_t *order = table->order + tile * table->pointers, kept = 0;
    for (ptrdiff_t tap = 0; tap < table->pointers; tap++, from += table->mr) {
        if (all_zeros(table, from)) continue;
        if (to != from) memcpy(to, from, (size_t)table->mr * sizeof *to);
        to += table->mr;
        order[kept++] = tap;
    }
    table->kept[tile] = kept;
}

static void copy_pixels(const fl_gather *g, const fl_table *table, ptrdiff_t pixels) {
    fl_real *to = table->runs;
    for (ptrdiff_t pixel = 0; pixel < pixels; pixel++, to += g->channels + NEAR_SPACE) {
        if (table->rows[pixel] == table->zeros) continue;
        memcpy(to, table->rows[pixel], (size_t)g->channels * sizeof *to);
        table->rows[pixel] = to;
    }
}

/* ---- a pointer for all taps: they are `tap_step` apart in copies of the image rows ---- */

/* Copy image rows from_tap.. of those under an output row, with their horizontal padding. */
static void copy_runs(const fl_gather *g, const fl_grid *grid, segment s, ptrdiff_t from_tap, ptrdiff_t run, fl_real *runs) {
    const ptrdiff_t width = padded_width(grid), left = FL_MIN(width, FL_MAX(0, -grid->tap_x[0]));
    const ptrdiff_t from = FL_MAX(0, grid->tap_x[0]), inside = FL_MAX(0, FL_MIN(g->w - from, width - left));
    const size_t before = (size_t)(left * g->channels), copied = (size_t)(inside * g->channels);
    for (ptrdiff_t i = from_tap; i < grid->taps_y; i++) {
        const ptrdiff_t y = s.r * grid->y_step + grid->tap_y[i];
        fl_real *to = runs + i * run;
        if (y < 0 || y >= g->h || inside == 0) {
            memset(to, 0, (size_t)run * sizeof *to);
            continue;
        }
        memset(to, 0, before * sizeof *to);
        memcpy(to + before, g->x + ((s.image * g->h + y) * g->w + from) * g->channels, copied * sizeof *to);
        memset(to + before + copied, 0, ((size_t)run - before - copied) * sizeof *to);
    }
}

static void point_runs(const fl_gather *g, const fl_grid *grid, const fl_table *table, segment s, const fl_real *runs) {
    const ptrdiff_t step = grid->x_step * g->channels;
    for (ptrdiff_t i = 0; i < s.count; i++) table->rows[s.pixel + i] = runs + (s.c + i) * step;
}

/* ---- the table ---- */

static void point_pixels(const fl_gather *g, const fl_grid *grid, const fl_table *table, ptrdiff_t first, ptrdiff_t pixels) {
    segment s = {.image = first / (grid->rows * grid->cols), .r = first / grid->cols % grid->rows, .c = first % grid->cols};
    fl_real *runs = table->runs;
    for (; s.pixel < pixels; s.pixel += s.count, s.r++, s.c = 0) {
        if (s.r == grid->rows) s.r = 0, s.image++;
        s.count = FL_MIN(pixels - s.pixel, grid->cols - s.c);
        point_outputs(g, grid, table, s);
        if (!table->tap_step) {
            point_taps(g, grid, table, s);
            continue;
        }
        const ptrdiff_t fresh = s.pixel && s.r ? fresh_rows(grid) : grid->taps_y;
        if (s.pixel) runs += fresh * table->tap_step;
        copy_runs(g, grid, s, grid->taps_y - fresh, table->tap_step, runs);
        point_runs(g, grid, table, s, runs);
    }
}

void FL(build_table)(const fl_gather *g, const fl_grid *grid, ptrdiff_t first, ptrdiff_t pixels, fl_table *table) {
    const int merged = merges_taps(g, grid);
    const ptrdiff_t tiles = fl_ceil_div(pixels, table->mr);
    table->taps = merged ? grid->taps_y : fl_grid_taps(grid);
    table->k = merged ? grid->taps_x * g->k : g->k;
    table->tap_step = merged ? padded_width(grid) * g->channels : 0;
    table->pointers = merged ? 1 : table->taps;
    point_pixels(g, grid, table, first, pixels);
    if (copies_pixels(g, grid)) copy_pixels(g, table, pixels);
    for (ptrdiff_t pixel = pixels; pixel < tiles * table->mr; pixel++) { /* past the end: anything that can be read */
        const fl_real **lane = lane_of(table, pixel);
        table->out[pixel] = table->nowhere;
        for (ptrdiff_t tap = 0; tap < table->pointers; tap++) lane[tap * table->mr] = merged ? table->runs : table->zeros;
    }
    for (ptrdiff_t tile = 0; tile < tiles && !merged; tile++) drop_padding(table, tile);
}
