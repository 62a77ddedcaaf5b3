# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""Maximum and average pooling over two spatial axes, forward and backward."""

cimport numpy as cnp
from arrays cimport check, contiguous, dtype_of, empty, fl_window, window_of
from process cimport fl_probe_begin, fl_probe_end, join_process

cdef extern from "pool.h":
    enum: FL_POOL_EMPTY_WINDOW
    ctypedef struct fl_pool:
        fl_window window
        Py_ssize_t batch, channels
        int channels_first, isa, threads
    ctypedef struct fl_pool_driver:
        int (*max)(const fl_pool *, const void *x, void *y, void *argmax) nogil
        int (*max_backward)(const fl_pool *, const void *dy, const void *argmax, void *dx) nogil
        int (*average)(const fl_pool *, const void *x, void *y, int count_include_pad) nogil
        int (*average_backward)(const fl_pool *, const void *dy, void *dx, int count_include_pad) nogil
    const fl_pool_driver fl_pool_driver_f32, fl_pool_driver_f64

cnp.import_array()
join_process()


cdef inline const fl_pool_driver *driver_of(int typenum) noexcept nogil:
    return &fl_pool_driver_f32 if typenum == cnp.NPY_FLOAT else &fl_pool_driver_f64


cdef inline bint indexable(Py_ssize_t n, Py_ssize_t out, Py_ssize_t taps, Py_ssize_t stride, Py_ssize_t dilation,
                           Py_ssize_t before, Py_ssize_t after) noexcept:
    """Whether one axis of a window can be: all of it positive, and no position that it speaks of beyond 2^62."""
    cdef double reach = <double> out * stride + <double> taps * dilation + n + before + after
    return min(n, out, taps, stride, dilation) > 0 and min(before, after) >= 0 and reach < 4e18


cdef fl_pool pool_of(geometry, str data_format, int isa, int threads) except *:
    """The window and how to run it; batch and channels are left to `measure`."""
    cdef fl_pool pool
    pool.window, pool.isa, pool.threads = window_of(geometry), isa, threads
    cdef fl_window w = pool.window
    if not (indexable(w.h, w.oh, w.kh, w.sh, w.dh, w.top, w.bottom)
            and indexable(w.w, w.ow, w.kw, w.sw, w.dw, w.left, w.right) and w.kh <= 2**31 // w.kw):
        raise ValueError(f"window: expected sizes, strides and dilations >= 1 and padding >= 0, got {geometry}")
    if data_format != "channels_last" and data_format != "channels_first":
        raise ValueError(f'data_format: expected "channels_last" or "channels_first", got {data_format!r}')
    pool.channels_first = data_format == "channels_first"
    pool.batch = pool.channels = 0
    return pool


cdef int measure(fl_pool *pool, cnp.ndarray x, str name, Py_ssize_t rows, Py_ssize_t cols) except -1:
    """Take batch and channels from x, which must have rows x cols pixels."""
    cdef int axis = 2 if pool.channels_first else 1
    if cnp.PyArray_NDIM(x) != 4 or x.shape[axis] != rows or x.shape[axis + 1] != cols:
        raise ValueError(f"{name}: expected 4 axes, {rows} x {cols} pixels of them, got shape {(<object> x).shape}")
    pool.batch, pool.channels = x.shape[0], x.shape[1 if pool.channels_first else 3]
    return 0


cdef cnp.ndarray images(const fl_pool *pool, Py_ssize_t rows, Py_ssize_t cols, int typenum):
    """A new array of the pool's batch, layout and channels."""
    if pool.channels_first:
        return empty(4, pool.batch, pool.channels, rows, cols, typenum)
    return empty(4, pool.batch, rows, cols, pool.channels, typenum)


cdef int finish(int status, geometry) except -1:
    if status == FL_POOL_EMPTY_WINDOW:
        raise ValueError(f"window: expected every window to hold an input pixel, got {geometry}")
    return check(status)


cdef inline int argmax_type(fl_window w) noexcept:
    return cnp.NPY_UINT8 if w.kh * w.kw <= 256 else cnp.NPY_INT32


cdef cnp.ndarray tap_numbers(argmax, fl_window w):
    """A contiguous argmax."""
    cdef int typenum = argmax_type(w)
    if not cnp.PyArray_Check(argmax) or cnp.PyArray_TYPE(<cnp.ndarray> argmax) != typenum:
        raise TypeError(f"argmax: expected an array of {'uint8' if typenum == cnp.NPY_UINT8 else 'int32'} "
                        f"for a window of {w.kh} x {w.kw}, got {getattr(argmax, 'dtype', type(argmax).__name__)}")
    return contiguous(argmax, typenum, "argmax")


def max_pool2d(x, window, str data_format, bint with_argmax, int isa, int threads):
    """(y, argmax or None); see fastlayers.reference.pool.max_pool2d."""
    cdef int typenum = dtype_of(x), status
    cdef cnp.ndarray xs = contiguous(x, typenum, "x"), y, argmax = None
    cdef fl_pool pool = pool_of(window, data_format, isa, threads)
    cdef fl_window w = pool.window
    measure(&pool, xs, "x", w.h, w.w)
    y = images(&pool, w.oh, w.ow, typenum)
    if with_argmax:
        argmax = images(&pool, w.oh, w.ow, argmax_type(w))
    cdef void *taps = cnp.PyArray_DATA(argmax) if with_argmax else NULL
    with nogil:
        status = driver_of(typenum).max(&pool, cnp.PyArray_DATA(xs), cnp.PyArray_DATA(y), taps)
    finish(status, window)
    return y, argmax


def max_pool2d_backward(dy, argmax, window, str data_format, int isa, int threads):
    """dx of max_pool2d; see fastlayers.reference.pool.max_pool2d_backward."""
    cdef int typenum = dtype_of(dy), status
    cdef fl_pool pool = pool_of(window, data_format, isa, threads)
    cdef fl_window w = pool.window
    cdef cnp.ndarray dys = contiguous(dy, typenum, "dy"), taps = tap_numbers(argmax, w), dx
    measure(&pool, dys, "dy", w.oh, w.ow)
    if not cnp.PyArray_SAMESHAPE(dys, taps):
        raise ValueError(f"argmax: expected the shape of dy, {dy.shape}, got {argmax.shape}")
    dx = images(&pool, w.h, w.w, typenum)
    with nogil:
        status = driver_of(typenum).max_backward(&pool, cnp.PyArray_DATA(dys), cnp.PyArray_DATA(taps), cnp.PyArray_DATA(dx))
    finish(status, window)
    return dx


def average_pool2d(x, window, str data_format, bint count_include_pad, int isa, int threads):
    """y; see fastlayers.reference.pool.average_pool2d."""
    cdef int typenum = dtype_of(x), status
    cdef cnp.ndarray xs = contiguous(x, typenum, "x"), y
    cdef fl_pool pool = pool_of(window, data_format, isa, threads)
    cdef fl_window w = pool.window
    measure(&pool, xs, "x", w.h, w.w)
    y = images(&pool, w.oh, w.ow, typenum)
    with nogil:
        status = driver_of(typenum).average(&pool, cnp.PyArray_DATA(xs), cnp.PyArray_DATA(y), count_include_pad)
    finish(status, window)
    return y


def average_pool2d_backward(dy, window, str data_format, bint count_include_pad, int isa, int threads):
    """dx of average_pool2d; see fastlayers.reference.pool.average_pool2d_backward."""
    cdef int typenum = dtype_of(dy), status
    cdef cnp.ndarray dys = contiguous(dy, typenum, "dy"), dx
    cdef fl_pool pool = pool_of(window, data_format, isa, threads)
    cdef fl_window w = pool.window
    measure(&pool, dys, "dy", w.oh, w.ow)
    dx = images(&pool, w.h, w.w, typenum)
    with nogil:
        status = driver_of(typenum).average_backward(&pool, cnp.PyArray_DATA(dys), cnp.PyArray_DATA(dx), count_include_pad)
    finish(status, window)
    return dx


def workspace(window, Py_ssize_t batch, Py_ssize_t channels, str data_format, bint double_precision, bint maximum, bint backward,
              int isa, int threads):
    """Bytes that the driver of a pass asks for, all threads together."""
    cdef fl_pool pool = pool_of(window, data_format, isa, threads)
    cdef const fl_pool_driver *driver = driver_of(cnp.NPY_DOUBLE if double_precision else cnp.NPY_FLOAT)
    cdef char argmax = 0 # it is wanted, but not written
    pool.batch, pool.channels = batch, channels
    fl_probe_begin()
    if maximum and backward:
        driver.max_backward(&pool, NULL, &argmax, NULL)
    elif maximum:
        driver.max(&pool, NULL, NULL, &argmax)
    elif backward:
        driver.average_backward(&pool, NULL, NULL, True)
    else:
        driver.average(&pool, NULL, NULL, True)
    return fl_probe_end()
