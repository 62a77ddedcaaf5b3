/* How element-wise and row-wise work is cut for threads: by the problem alone. */
#ifndef FL_BLOCKS_H
#define FL_BLOCKS_H

#include "fl_types.h"

enum { FL_BLOCK_ELEMENTS = 8192 };

/* Rows of so many columns to a block. */
static inline ptrdiff_t fl_block_rows(ptrdiff_t columns) { return FL_MAX(1, FL_BLOCK_ELEMENTS / FL_MAX(1, columns)); }

#endif
