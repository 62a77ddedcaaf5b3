# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""The dense layer's products: to the drivers, a 1x1 convolution over one image of N pixels in a row."""

cimport numpy as cnp
from activations cimport activation_code
from arrays cimport check, contiguous, dtype_of, empty, fl_window
from conv_driver cimport FL_CONV_AUTO, driver_of, fl_conv
from process cimport join_process

cnp.import_array()
join_process()

cdef fl_conv product(Py_ssize_t rows, Py_ssize_t inputs, Py_ssize_t units, int isa, int threads) noexcept:
    cdef fl_conv conv
    conv.window = fl_window(h=1, w=rows, oh=1, ow=rows, kh=1, kw=1, sh=1, sw=1, dh=1, dw=1, top=0, bottom=0, left=0, right=0)
    conv.batch, conv.channels, conv.filters, conv.groups = 1, inputs, units, 1
    conv.algorithm, conv.isa, conv.threads = FL_CONV_AUTO, isa, threads
    return conv


cdef cnp.ndarray matrix(x, int typenum, str name):
    cdef cnp.ndarray array = contiguous(x, typenum, name)
    if cnp.PyArray_NDIM(array) != 2:
        raise ValueError(f"{name}: expected 2 axes, got shape {(<object> x).shape}")
    return array


def dense(x, kernel, bias, str activation, double alpha, int isa, int threads):
    """y = f(x W + b); see fastlayers.reference.dense.dense."""
    cdef int typenum = dtype_of(x), status, code = activation_code(activation)
    cdef cnp.ndarray xs = matrix(x, typenum, "x"), w = matrix(kernel, typenum, "kernel")
    cdef cnp.ndarray b = None if bias is None else contiguous(bias, typenum, "bias")
    if w.shape[0] != xs.shape[1]:
        raise ValueError(f"kernel: expected {xs.shape[1]} rows for x of shape {x.shape}, got shape {kernel.shape}")
    if b is not None and (cnp.PyArray_NDIM(b) != 1 or b.shape[0] != w.shape[1]):
        raise ValueError(f"bias: expected shape ({w.shape[1]},), got {bias.shape}")
    cdef fl_conv conv = product(xs.shape[0], xs.shape[1], w.shape[1], isa, threads)
    cdef cnp.ndarray y = empty(2, conv.window.w, conv.filters, 0, 0, typenum)
    cdef void *bias_data = NULL if b is None else cnp.PyArray_DATA(b)
    with nogil:
        status = driver_of(typenum).forward(&conv, cnp.PyArray_DATA(xs), cnp.PyArray_DATA(w), bias_data,
                                            cnp.PyArray_DATA(y), code, alpha)
    check(status)
    return y


def dense_backward_input(dy, kernel, int isa, int threads):
    """dx = dy W^T; see fastlayers.reference.dense.dense_backward_input."""
    cdef int typenum = dtype_of(dy), status
    cdef cnp.ndarray dys = matrix(dy, typenum, "dy"), w = matrix(kernel, typenum, "kernel")
    if w.shape[1] != dys.shape[1]:
        raise ValueError(f"kernel: expected {dys.shape[1]} columns for dy of shape {dy.shape}, got shape {kernel.shape}")
    cdef fl_conv conv = product(dys.shape[0], w.shape[0], w.shape[1], isa, threads)
    cdef cnp.ndarray dx = empty(2, conv.window.w, conv.channels, 0, 0, typenum)
    with nogil:
        status = driver_of(typenum).backward_input(&conv, cnp.PyArray_DATA(dys), cnp.PyArray_DATA(w), cnp.PyArray_DATA(dx))
    check(status)
    return dx


def dense_backward_weight(x, dy, bint with_bias, int isa, int threads):
    """dW = x^T dy, db = sum of dy's rows; see fastlayers.reference.dense.dense_backward_weight."""
    cdef int typenum = dtype_of(x), status
    cdef cnp.ndarray xs = matrix(x, typenum, "x"), dys = matrix(dy, typenum, "dy")
    if xs.shape[0] != dys.shape[0]:
        raise ValueError(f"dy: expected {xs.shape[0]} rows for x of shape {x.shape}, got shape {dy.shape}")
    cdef fl_conv conv = product(xs.shape[0], xs.shape[1], dys.shape[1], isa, threads)
    cdef cnp.ndarray dkernel = empty(2, conv.channels, conv.filters, 0, 0, typenum)
    cdef cnp.ndarray dbias = empty(1, conv.filters, 0, 0, 0, typenum) if with_bias else None
    cdef void *dbias_data = cnp.PyArray_DATA(dbias) if with_bias else NULL
    with nogil:
        status = driver_of(typenum).backward_weight(&conv, cnp.PyArray_DATA(xs), cnp.PyArray_DATA(dys),
                                                    cnp.PyArray_DATA(dkernel), dbias_data)
    check(status)
    return dkernel, dbias
