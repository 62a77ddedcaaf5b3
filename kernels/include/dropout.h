/* Dropout: drivers, one set per dtype.  Arrays are contiguous; pointers are untyped so that callers handle both dtypes
 * alike. */
#ifndef FL_DROPOUT_H
#define FL_DROPOUT_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    /* y = x / (1 - rate) where the element's uniform number u >= rate, else 0; 0 <= rate < 1 */
    void (*forward)(ptrdiff_t n, const void *x, void *y, double rate, uint64_t seed, uint64_t counter, int isa, int threads);
} fl_dropout_driver;

extern const fl_dropout_driver fl_dropout_driver_f32, fl_dropout_driver_f64;

#endif
