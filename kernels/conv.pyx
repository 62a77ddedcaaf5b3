# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""Convolution over two spatial axes, forward and backward."""

cimport numpy as cnp
from activations cimport activation_code
from arrays cimport check, contiguous, dtype_of, empty, fl_window, window_of
from conv_driver cimport (FL_CONV_AUTO, FL_CONV_BACKWARD_INPUT, FL_CONV_BACKWARD_WEIGHT, FL_CONV_FORWARD, FL_CONV_PRECISE,
                          driver_of, fl_conv, fl_conv_driver_f32, fl_conv_driver_f64, fl_conv_pass)
from process cimport PyThreadState, fl_probe_begin, fl_probe_end, join_process, release_gil, take_gil

cnp.import_array()
join_process()

cdef cnp.ndarray to_channels_last(cnp.ndarray x, int isa, int threads):
    """x (N, C, H, W) as a new (N, H, W, C) array."""
    cdef Py_ssize_t n = x.shape[0], c = x.shape[1], h = x.shape[2], w = x.shape[3]
    cdef cnp.ndarray y = empty(4, n, h, w, c, cnp.PyArray_TYPE(x))
    with nogil:
        driver_of(cnp.PyArray_TYPE(x)).to_channels_last(n, c, h * w, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), isa, threads)
    return y


cdef cnp.ndarray to_channels_first(cnp.ndarray x, int isa, int threads):
    """x (N, H, W, C) as a new (N, C, H, W) array."""
    cdef Py_ssize_t n = x.shape[0], h = x.shape[1], w = x.shape[2], c = x.shape[3]
    cdef cnp.ndarray y = empty(4, n, c, h, w, cnp.PyArray_TYPE(x))
    with nogil:
        driver_of(cnp.PyArray_TYPE(x)).to_channels_first(n, c, h * w, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), isa, threads)
    return y


cdef cnp.ndarray image(x, int typenum, str name, bint channels_first, int isa, int threads):
    """x as a contiguous (N, H, W, C) array."""
    cdef cnp.ndarray array = contiguous(x, typenum, name)
    if cnp.PyArray_NDIM(array) != 4:
        raise ValueError(f"{name}: expected 4 axes, got shape {(<object> x).shape}")
    return to_channels_last(array, isa, threads) if channels_first else array


cdef bint is_channels_first(str data_format) except -1:
    if data_format != "channels_last" and data_format != "channels_first":
        raise ValueError(f'data_format: expected "channels_last" or "channels_first", got {data_format!r}')
    return data_format == "channels_first"


cdef int refuse(str name, x, str expected) except -1:
    raise ValueError(f"{name}: expected shape {expected}, got {(<object> x).shape}")


cdef int choose(fl_conv *conv, int typenum, fl_conv_pass which, str algorithm) except -1:
    """Set conv.algorithm; ValueError for an unknown one, or one that can't do this pass of this problem."""
    if algorithm == "auto":
        conv.algorithm = FL_CONV_AUTO
    elif algorithm == "precise":
        conv.algorithm = FL_CONV_PRECISE
    elif algorithm in ALGORITHMS:
        conv.algorithm = ALGORITHMS.index(algorithm)
    else:
        raise ValueError(f"algorithm: expected auto, precise, {', '.join(ALGORITHMS)}, got {algorithm!r}")
    conv.algorithm = driver_of(typenum).choose(conv, which)
    if conv.algorithm < 0:
        raise ValueError(f"algorithm: {algorithm!r} does not apply to this convolution")
    return 0


cdef inline double work_of(const fl_conv *conv) noexcept:
    cdef const fl_window *w = &conv.window
    return 2.0 * conv.batch * w.oh * w.ow * w.kh * w.kw * conv.channels * (conv.filters // conv.groups)


def algorithm_names():
    """Names of the convolution algorithms, in the order in which they are considered."""
    names = []
    while fl_conv_driver_f32.algorithm_name(len(names)) != NULL:
        names.append(fl_conv_driver_f32.algorithm_name(len(names)).decode())
    return names


ALGORITHMS = algorithm_names()
PASSES = ("forward", "backward_input", "backward_weight")


def algorithm(window, Py_ssize_t batch, Py_ssize_t channels, Py_ssize_t filters, Py_ssize_t groups, bint double_precision,
              str which, str wish, int isa=0):
    """Name of the algorithm that a pass ("forward", "backward_input", "backward_weight") of this problem takes."""
    cdef fl_conv conv
    conv.window, conv.groups, conv.batch, conv.channels, conv.filters = window_of(window), groups, batch, channels, filters
    conv.isa, conv.threads = isa, 0
    number = PASSES.index(which)
    choose(&conv, cnp.NPY_DOUBLE if double_precision else cnp.NPY_FLOAT, <fl_conv_pass> <int> number, wish)
    return ALGORITHMS[conv.algorithm]


def workspace(window, Py_ssize_t batch, Py_ssize_t channels, Py_ssize_t filters, Py_ssize_t groups, bint double_precision,
              str which, str wish, int isa, int threads):
    """Bytes that the driver of a pass asks for, all threads together, besides what `channels_first` takes."""
    cdef fl_conv conv
    cdef int typenum = cnp.NPY_DOUBLE if double_precision else cnp.NPY_FLOAT
    cdef char dbias = 0 # a bias gradient is wanted, but not written
    conv.window, conv.groups, conv.batch, conv.channels, conv.filters = window_of(window), groups, batch, channels, filters
    conv.isa, conv.threads = isa, threads
    number = PASSES.index(which)
    choose(&conv, typenum, <fl_conv_pass> <int> number, wish)
    if batch == 0:
        return 0
    fl_probe_begin()
    if number == FL_CONV_FORWARD:
        driver_of(typenum).forward(&conv, NULL, NULL, NULL, NULL, 0, 0)
    elif number == FL_CONV_BACKWARD_INPUT:
        driver_of(typenum).backward_input(&conv, NULL, NULL, NULL)
    else:
        driver_of(typenum).backward_weight(&conv, NULL, NULL, NULL, &dbias)
    return fl_probe_end()


def conv2d(x, kernel, bias, window, Py_ssize_t groups, str data_format, str activation, double alpha, str algorithm,
           int isa, int threads):
    """y = f(x * kernel + bias); see fastlayers.reference.conv.conv2d."""
    cdef int typenum = dtype_of(x), status
    cdef bint channels_first = is_channels_first(data_format)
    cdef cnp.ndarray xs = image(x, typenum, "x", channels_first, isa, threads), w = contiguous(kernel, typenum, "kernel")
    cdef cnp.ndarray b = None if bias is None else contiguous(bias, typenum, "bias")
    cdef fl_conv conv
    conv.window, conv.groups, conv.isa, conv.threads = window_of(window), groups, isa, threads
    conv.batch, conv.channels = xs.shape[0], xs.shape[3]
    if not (xs.shape[1] == conv.window.h and xs.shape[2] == conv.window.w):
        refuse("x", x, f"of {window[:2]} pixels")
    if not (cnp.PyArray_NDIM(w) == 4 and w.shape[0] == conv.window.kh and w.shape[1] == conv.window.kw
            and groups > 0 and w.shape[2] * groups == conv.channels and w.shape[3] % groups == 0):
        refuse("kernel", kernel, f"({window.kh}, {window.kw}, {conv.channels} / groups, filters)")
    conv.filters = w.shape[3]
    if not (b is None or (cnp.PyArray_NDIM(b) == 1 and b.shape[0] == conv.filters)):
        refuse("bias", bias, f"({conv.filters},)")
    cdef int code = activation_code(activation)
    choose(&conv, typenum, FL_CONV_FORWARD, algorithm)
    cdef cnp.ndarray y = empty(4, conv.batch, conv.window.oh, conv.window.ow, conv.filters, typenum)
    cdef void *bias_data = NULL if b is None else cnp.PyArray_DATA(b)
    cdef PyThreadState *state = release_gil(work_of(&conv))
    status = driver_of(typenum).forward(&conv, cnp.PyArray_DATA(xs), cnp.PyArray_DATA(w), bias_data,
                                        cnp.PyArray_DATA(y), code, alpha)
    take_gil(state)
    check(status)
    return to_channels_first(y, isa, threads) if channels_first else y


def conv2d_backward_input(dy, kernel, window, Py_ssize_t groups, str data_format, str algorithm, int isa, int threads):
    """dx of conv2d; see fastlayers.reference.conv.conv2d_backward_input."""
    cdef int typenum = dtype_of(dy), status
    cdef bint channels_first = is_channels_first(data_format)
    cdef cnp.ndarray dys = image(dy, typenum, "dy", channels_first, isa, threads), w = contiguous(kernel, typenum, "kernel")
    cdef fl_conv conv
    conv.window, conv.groups, conv.isa, conv.threads = window_of(window), groups, isa, threads
    conv.batch, conv.filters = dys.shape[0], dys.shape[3]
    if not (dys.shape[1] == conv.window.oh and dys.shape[2] == conv.window.ow):
        refuse("dy", dy, f"of {window[2:4]} pixels")
    if not (cnp.PyArray_NDIM(w) == 4 and w.shape[0] == conv.window.kh and w.shape[1] == conv.window.kw
            and groups > 0 and w.shape[3] == conv.filters
            and conv.filters % groups == 0):
        refuse("kernel", kernel, f"({conv.window.kh}, {conv.window.kw}, channels / groups, {conv.filters})")
    conv.channels = w.shape[2] * groups
    choose(&conv, typenum, FL_CONV_BACKWARD_INPUT, algorithm)
    cdef cnp.ndarray dx = empty(4, conv.batch, conv.window.h, conv.window.w, conv.channels, typenum)
    cdef PyThreadState *state = release_gil(work_of(&conv))
    status = driver_of(typenum).backward_input(&conv, cnp.PyArray_DATA(dys), cnp.PyArray_DATA(w), cnp.PyArray_DATA(dx))
    take_gil(state)
    check(status)
    return to_channels_first(dx, isa, threads) if channels_first else dx


def conv2d_backward_weight(x, dy, window, Py_ssize_t groups, str data_format, bint with_bias, str algorithm, int isa,
                           int threads):
    """(dkernel, dbias) of conv2d; see fastlayers.reference.conv.conv2d_backward_weight."""
    cdef int typenum = dtype_of(x), status
    cdef bint channels_first = is_channels_first(data_format)
    cdef cnp.ndarray xs = image(x, typenum, "x", channels_first, isa, threads)
    cdef cnp.ndarray dys = image(dy, typenum, "dy", channels_first, isa, threads)
    cdef fl_conv conv
    conv.window, conv.groups, conv.isa, conv.threads = window_of(window), groups, isa, threads
    conv.batch, conv.channels, conv.filters = xs.shape[0], xs.shape[3], dys.shape[3]
    if not (xs.shape[1] == conv.window.h and xs.shape[2] == conv.window.w):
        refuse("x", x, f"of {window[:2]} pixels")
    if not (groups > 0 and conv.channels % groups == 0):
        refuse("x", x, f"with channels that {groups} groups divide")
    if not (dys.shape[0] == conv.batch and dys.shape[1] == conv.window.oh and dys.shape[2] == conv.window.ow
            and conv.filters % groups == 0):
        refuse("dy", dy, f"of {conv.batch} images of {window[2:4]} pixels")
    choose(&conv, typenum, FL_CONV_BACKWARD_WEIGHT, algorithm)
    cdef cnp.ndarray dkernel = empty(4, conv.window.kh, conv.window.kw, conv.channels // groups, conv.filters, typenum)
    cdef cnp.ndarray dbias = empty(1, conv.filters, 0, 0, 0, typenum) if with_bias else None
    cdef void *dbias_data = cnp.PyArray_DATA(dbias) if with_bias else NULL
    cdef PyThreadState *state = release_gil(work_of(&conv))
    status = driver_of(typenum).backward_weight(&conv, cnp.PyArray_DATA(xs), cnp.PyArray_DATA(dys),
                                                cnp.PyArray_DATA(dkernel), dbias_data)
    take_gil(state)
    check(status)
    return dkernel, dbias


cdef extern from "blocking.h":
    enum: FL_BLOCK_PIXELS, FL_K_BLOCK, FL_PACKED_BYTES, FL_CHUNK_PIXELS, FL_X_BYTES, FL_SLICES


def block_sizes(int isa):
    """Name -> size of the blocks that dense layers and convolutions are cut into."""
    return {
        "register tile, float32": f"{fl_conv_driver_f32.tile_rows(isa)} x {fl_conv_driver_f32.tile_columns(isa)}",
        "register tile, float64": f"{fl_conv_driver_f64.tile_rows(isa)} x {fl_conv_driver_f64.tile_columns(isa)}",
        "pixels a block": FL_BLOCK_PIXELS,
        "depth of a pass": FL_K_BLOCK,
        "packed weights at once": f"{FL_PACKED_BYTES >> 20} MiB",
        "pixels a chunk, weight gradient": FL_CHUNK_PIXELS,
        "input packed at once, weight gradient": f"{FL_X_BYTES >> 10} KiB",
        "slices at most, weight gradient": FL_SLICES,
    }
