"""The convolution drivers, one set per dtype, as conv.h declares them."""

cimport numpy as cnp
from arrays cimport fl_window

cdef extern from "conv.h":
    enum: FL_CONV_AUTO, FL_CONV_PRECISE
    enum fl_conv_pass: FL_CONV_FORWARD, FL_CONV_BACKWARD_INPUT, FL_CONV_BACKWARD_WEIGHT
    ctypedef struct fl_conv:
        fl_window window
        Py_ssize_t batch, channels, filters, groups
        int algorithm, isa, threads
    ctypedef struct fl_conv_driver:
        int (*forward)(const fl_conv *, const void *x, const void *kernel, const void *bias, void *y, int activation,
                       double alpha) nogil
        int (*backward_input)(const fl_conv *, const void *dy, const void *kernel, void *dx) nogil
        int (*backward_weight)(const fl_conv *, const void *x, const void *dy, void *dkernel, void *dbias) nogil
        int (*choose)(const fl_conv *, fl_conv_pass)
        const char *(*algorithm_name)(int number)
        void (*to_channels_last)(Py_ssize_t n, Py_ssize_t c, Py_ssize_t hw, const void *x, void *y, int isa, int threads) nogil
        void (*to_channels_first)(Py_ssize_t n, Py_ssize_t c, Py_ssize_t hw, const void *x, void *y, int isa, int threads) nogil
        Py_ssize_t (*tile_rows)(int isa)
        Py_ssize_t (*tile_columns)(int isa)
    const fl_conv_driver fl_conv_driver_f32, fl_conv_driver_f64


cdef inline const fl_conv_driver *driver_of(int typenum) noexcept nogil:
    return &fl_conv_driver_f32 if typenum == cnp.NPY_FLOAT else &fl_conv_driver_f64
