/* A pooling, forward or backward, as its drivers see it: every result gathers from a grid of sources. */
#ifndef FL_POOL_GATHER_H
#define FL_POOL_GATHER_H

#include "layout_ukernels.h"
#include "pool_plan.h"
#include "pool_ukernels.h"

typedef struct {
    ptrdiff_t images, channels;
    fl_pool_axis y, x;
    const fl_real *source; /* (images, y.sources, x.sources, channels) */
    fl_real *result;       /* (images, y.results, x.results, channels) */
    char *argmax;          /* of the shape of one of them, or NULL */
    ptrdiff_t argmax_bytes;
    int argmax_of_sources;
    ptrdiff_t window_rows, window_cols;
    fl_pool_ukernel *gather, *gather_uneven;
    fl_pool_ukernel *spread; /* backward of windows side by side, else NULL */
    const fl_layout_ukernels *layout;
    double work;
    int threads;
} fl_pool_gathering;

/* Some channels of one image, or of a band of its rows. */
typedef struct {
    const fl_real *source;
    fl_real *result;
    char *argmax;
    ptrdiff_t first_source, first_result; /* the rows that source and result begin with */
    ptrdiff_t pitch, channels;            /* elements from pixel to pixel, and how many of them are meant */
    int far;                              /* not in cache yet: fetch ahead */
} fl_pool_view;

/* The rows of results in units: single rows or, backward where `tile_rows` x `tile_cols` whole windows lie side by side,
 * first the rows under each row of windows; `beside` are the results to the right of these. */
typedef struct {
    ptrdiff_t count, tile_rows, tile_cols;
    fl_pool_strips strips, beside;
} fl_pool_units;

/* Strips of at most `longest` results; tiles only if `tiled`.  FL_OK or FL_ENOMEM; in either case units may be freed. */
int FL(pool_units)(fl_pool_units *units, const fl_pool_gathering *g, int tiled, ptrdiff_t longest);
void FL(pool_units_free)(fl_pool_units *units);

/* The first row of results of a unit, or of what follows the last one. */
ptrdiff_t FL(pool_unit_row)(const fl_pool_units *units, const fl_pool_gathering *g, ptrdiff_t unit);

/* Compute a unit; of a single row, only the strips begin..end-1. */
void FL(pool_unit)(const fl_pool_units *units, const fl_pool_gathering *g, const fl_pool_view *view, ptrdiff_t unit,
                   ptrdiff_t begin, ptrdiff_t end);

/* Images as they stand.  FL_OK or FL_ENOMEM. */
int FL(pool_images)(const fl_pool_gathering *g);

/* The same for images of few channels (one, in the case of channels_first): several images at a time are brought side
 * by side, and their channels pooled together. */
int FL(pool_planes)(const fl_pool_gathering *g);

#endif
