# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""Activations and softmax, forward and backward."""

cimport numpy as cnp
from activations cimport activation_code
from arrays cimport contiguous, dtype_of, empty_like
from process cimport join_process

cnp.import_array()
join_process()

cdef extern from "activation.h":
    ctypedef struct fl_activation_driver:
        void (*forward)(Py_ssize_t n, const void *x, void *y, int activation, double alpha, int isa, int threads) nogil
        void (*backward)(Py_ssize_t n, const void *dy, const void *r, void *dx, int activation, double alpha, int isa,
                         int threads) nogil
        void (*softmax)(Py_ssize_t rows, Py_ssize_t columns, const void *x, void *y, int isa, int threads) nogil
        void (*softmax_backward)(Py_ssize_t rows, Py_ssize_t columns, const void *dy, const void *y, void *dx, int isa,
                                 int threads) nogil
    const fl_activation_driver fl_activation_driver_f32, fl_activation_driver_f64


cdef inline const fl_activation_driver *driver_of(int typenum) noexcept nogil:
    return &fl_activation_driver_f32 if typenum == cnp.NPY_FLOAT else &fl_activation_driver_f64


cdef int expect_same_shape(cnp.ndarray a, cnp.ndarray b, str names) except -1:
    if not cnp.PyArray_SAMESHAPE(a, b):
        raise ValueError(f"{names}: expected one shape, got {(<object> a).shape} and {(<object> b).shape}")
    return 0


cdef int expect_matrix(cnp.ndarray x, str name) except -1:
    if cnp.PyArray_NDIM(x) != 2:
        raise ValueError(f"{name}: expected 2 axes, got shape {(<object> x).shape}")
    return 0


def activation(x, str name, double alpha, int isa, int threads):
    """y = f(x); see fastlayers.reference.activation.activation."""
    cdef int typenum = dtype_of(x), code = activation_code(name)
    cdef cnp.ndarray xs = contiguous(x, typenum, "x"), y = empty_like(xs)
    with nogil:
        driver_of(typenum).forward(cnp.PyArray_SIZE(xs), cnp.PyArray_DATA(xs), cnp.PyArray_DATA(y), code, alpha, isa, threads)
    return y


def activation_backward(dy, r, str name, double alpha, int isa, int threads):
    """dx = dy f'(x); see fastlayers.reference.activation.activation_backward."""
    cdef int typenum = dtype_of(dy), code = activation_code(name)
    cdef cnp.ndarray dys = contiguous(dy, typenum, "dy"), rs = contiguous(r, typenum, "r")
    expect_same_shape(dys, rs, "dy, r")
    cdef cnp.ndarray dx = empty_like(dys)
    with nogil:
        driver_of(typenum).backward(cnp.PyArray_SIZE(dys), cnp.PyArray_DATA(dys), cnp.PyArray_DATA(rs), cnp.PyArray_DATA(dx),
                                    code, alpha, isa, threads)
    return dx


def softmax(x, int isa, int threads):
    """y = exp(x) / sum of exp(x) over the last axis; see fastlayers.reference.activation.softmax."""
    cdef int typenum = dtype_of(x)
    cdef cnp.ndarray xs = contiguous(x, typenum, "x")
    expect_matrix(xs, "x")
    cdef cnp.ndarray y = empty_like(xs)
    with nogil:
        driver_of(typenum).softmax(xs.shape[0], xs.shape[1], cnp.PyArray_DATA(xs), cnp.PyArray_DATA(y), isa, threads)
    return y


def softmax_backward(dy, y, int isa, int threads):
    """dx = y (dy - sum of dy y) over the last axis; see fastlayers.reference.activation.softmax_backward."""
    cdef int typenum = dtype_of(dy)
    cdef cnp.ndarray dys = contiguous(dy, typenum, "dy"), ys = contiguous(y, typenum, "y")
    expect_matrix(dys, "dy")
    expect_same_shape(dys, ys, "dy, y")
    cdef cnp.ndarray dx = empty_like(dys)
    with nogil:
        driver_of(typenum).softmax_backward(dys.shape[0], dys.shape[1], cnp.PyArray_DATA(dys), cnp.PyArray_DATA(ys),
                                            cnp.PyArray_DATA(dx), isa, threads)
    return dx
