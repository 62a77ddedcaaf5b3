/* Element-wise functions of two contiguous arrays: drivers, one set per dtype. */
#ifndef FL_MERGE_H
#define FL_MERGE_H

#include <stddef.h>

/* y = a o b, n elements */
typedef void fl_merge(ptrdiff_t n, const void *a, const void *b, void *y, int isa, int threads);

typedef struct {
    fl_merge *add, *multiply;
} fl_merge_driver;

extern const fl_merge_driver fl_merge_driver_f32, fl_merge_driver_f64;

#endif
