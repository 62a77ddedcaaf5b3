/* The limits of the machine, to hold the other kernels against: multiply-adds in registers, and copying memory. */
#ifndef FL_PEAK_H
#define FL_PEAK_H

#include <stddef.h>

/* Each thread does `rounds` rounds of independent multiply-adds -> flops done in all. */
double fl_multiply_adds_f32(ptrdiff_t rounds, int isa, int threads);
double fl_multiply_adds_f64(ptrdiff_t rounds, int isa, int threads);

/* target := source, one contiguous part for each thread */
void fl_copy(void *target, const void *source, size_t bytes, int threads);

#endif
