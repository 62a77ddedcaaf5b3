/* A large matrix product shared out: rectangles of the result, one a thread, each of which packs for itself. */
#ifndef FL_SHARING_H
#define FL_SHARING_H

#include <stddef.h>

#include "fl_types.h"

typedef struct {
    ptrdiff_t begin, end;
} fl_range;

static inline ptrdiff_t fl_size_of(fl_range r) { return r.end - r.begin; }

/* Number `number` of `parts` of a size, cut between units. */
static inline fl_range fl_part(ptrdiff_t size, ptrdiff_t unit, ptrdiff_t number, ptrdiff_t parts) {
    ptrdiff_t units = fl_ceil_div(size, unit);
    return (fl_range){units * number / parts * unit, FL_MIN(size, units * (number + 1) / parts * unit)};
}

typedef struct {
    ptrdiff_t row_parts, column_parts;
} fl_shares;

enum { FL_PACKING = 8 }; /* multiply-adds that packing an element takes the time of */

/* A grid of as many parts as threads: no part large, little for each to pack, and rather rows, which are written in one run. */
static inline fl_shares fl_share_out(ptrdiff_t m, ptrdiff_t row_unit, ptrdiff_t n, ptrdiff_t column_unit, int team) {
    fl_shares best = {1, team};
    double least = 0;
    for (int row_parts = 1; row_parts <= team; row_parts++) {
        if (team % row_parts) continue;
        double rows = (double)(fl_ceil_div(fl_ceil_div(m, row_unit), row_parts) * row_unit);
        double columns = (double)(fl_ceil_div(fl_ceil_div(n, column_unit), team / row_parts) * column_unit);
        double cost = rows * columns + FL_PACKING * (rows + columns);
        if (row_parts > 1 && cost > least) continue;
        least = cost;
        best = (fl_shares){row_parts, team / row_parts};
    }
    return best;
}

#endif
