/* y = u sigmoid(v), where a row of z holds u and then v: forward and backward, for rows begin <= row < end. */
#ifndef GATE_H
#define GATE_H

#include <stddef.h>

typedef struct {
    void (*forward)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t units, const void *z, void *y);
    void (*backward)(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t units, const void *dy, const void *z, void *dz);
} gate;

extern const gate fl_gate_w16_f32, fl_gate_w32_f32, fl_gate_w64_f32, fl_gate_w16_f64, fl_gate_w32_f64, fl_gate_w64_f64;

/* The widest body that is compiled and that vectors of so many bytes can run. */
static inline const gate *gate_of(int vector_bytes, int is_double) {
#if GATE_WIDE
    if (vector_bytes >= 64) return is_double ? &fl_gate_w64_f64 : &fl_gate_w64_f32;
    if (vector_bytes >= 32) return is_double ? &fl_gate_w32_f64 : &fl_gate_w32_f32;
#endif
    (void)vector_bytes;
    return is_double ? &fl_gate_w16_f64 : &fl_gate_w16_f32;
}

#endif
