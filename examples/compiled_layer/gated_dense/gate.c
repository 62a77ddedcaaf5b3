/* Compiled once for each dtype and vector width; see setup.py. */
#include "gate.h"

#include <fastlayers/varray.h>

static void forward(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t units, const void *z, void *y_) {
    for (ptrdiff_t row = begin; row < end; row++) {
        const fl_real *u = (const fl_real *)z + row * 2 * units, *v = u + units;
        fl_real *y = (fl_real *)y_ + row * units;
        for (ptrdiff_t i = 0; i < units; i += VL)
            vstore_next(y + i, vload_next(u + i, units - i) * vsigmoid(vload_next(v + i, units - i)), units - i);
    }
}

/* du = dy s, dv = dy u s (1 - s), s = sigmoid(v) */
static void backward(ptrdiff_t begin, ptrdiff_t end, ptrdiff_t units, const void *dy_, const void *z, void *dz) {
    for (ptrdiff_t row = begin; row < end; row++) {
        const fl_real *dy = (const fl_real *)dy_ + row * units, *u = (const fl_real *)z + row * 2 * units, *v = u + units;
        fl_real *du = (fl_real *)dz + row * 2 * units, *dv = du + units;
        for (ptrdiff_t i = 0; i < units; i += VL) {
            const vreal s = vsigmoid(vload_next(v + i, units - i)), through = vload_next(dy + i, units - i) * s;
            vstore_next(du + i, through, units - i);
            vstore_next(dv + i, through * vload_next(u + i, units - i) * (1 - s), units - i);
        }
    }
}

const gate FL_UK(gate) = {forward, backward};
