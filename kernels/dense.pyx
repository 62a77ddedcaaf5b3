# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""The dense layer, forward and backward."""

cimport numpy as cnp
from activations cimport activation_code
from arrays cimport check, contiguous, dtype_of, empty
from process cimport PyThreadState, fl_probe_begin, fl_probe_end, join_process, release_gil, take_gil

cnp.import_array()
join_process()

cdef extern from "dense.h":
    enum fl_dense_pass: FL_DENSE_FORWARD, FL_DENSE_BACKWARD_INPUT, FL_DENSE_BACKWARD_WEIGHT
    ctypedef struct fl_dense:
        Py_ssize_t rows, inputs, units
        int isa, threads
    ctypedef struct fl_dense_driver:
        int (*forward)(const fl_dense *, const void *x, const void *kernel, const void *bias, void *y, int activation,
                       double alpha) nogil
        int (*backward_input)(const fl_dense *, const void *dy, const void *kernel, void *dx) nogil
        int (*backward_weight)(const fl_dense *, const void *x, const void *dy, void *dkernel, void *dbias) nogil
        const char *(*algorithm)(const fl_dense *, fl_dense_pass)
    const fl_dense_driver fl_dense_driver_f32, fl_dense_driver_f64


cdef inline const fl_dense_driver *driver_of(int typenum) noexcept nogil:
    return &fl_dense_driver_f32 if typenum == cnp.NPY_FLOAT else &fl_dense_driver_f64


cdef inline double work_of(const fl_dense *d) noexcept:
    return 2.0 * d.rows * d.inputs * d.units


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
    cdef fl_dense d = fl_dense(rows=xs.shape[0], inputs=xs.shape[1], units=w.shape[1], isa=isa, threads=threads)
    cdef cnp.ndarray y = empty(2, d.rows, d.units, 0, 0, typenum)
    cdef void *bias_data = NULL if b is None else cnp.PyArray_DATA(b)
    cdef PyThreadState *state = release_gil(work_of(&d))
    status = driver_of(typenum).forward(&d, cnp.PyArray_DATA(xs), cnp.PyArray_DATA(w), bias_data,
                                        cnp.PyArray_DATA(y), code, alpha)
    take_gil(state)
    check(status)
    return y


def dense_backward_input(dy, kernel, int isa, int threads):
    """dx = dy W^T; see fastlayers.reference.dense.dense_backward_input."""
    cdef int typenum = dtype_of(dy), status
    cdef cnp.ndarray dys = matrix(dy, typenum, "dy"), w = matrix(kernel, typenum, "kernel")
    if w.shape[1] != dys.shape[1]:
        raise ValueError(f"kernel: expected {dys.shape[1]} columns for dy of shape {dy.shape}, got shape {kernel.shape}")
    cdef fl_dense d = fl_dense(rows=dys.shape[0], inputs=w.shape[0], units=w.shape[1], isa=isa, threads=threads)
    cdef cnp.ndarray dx = empty(2, d.rows, d.inputs, 0, 0, typenum)
    cdef PyThreadState *state = release_gil(work_of(&d))
    status = driver_of(typenum).backward_input(&d, cnp.PyArray_DATA(dys), cnp.PyArray_DATA(w), cnp.PyArray_DATA(dx))
    take_gil(state)
    check(status)
    return dx


def dense_backward_weight(x, dy, bint with_bias, int isa, int threads):
    """dW = x^T dy, db = sum of dy's rows; see fastlayers.reference.dense.dense_backward_weight."""
    cdef int typenum = dtype_of(x), status
    cdef cnp.ndarray xs = matrix(x, typenum, "x"), dys = matrix(dy, typenum, "dy")
    if xs.shape[0] != dys.shape[0]:
        raise ValueError(f"dy: expected {xs.shape[0]} rows for x of shape {x.shape}, got shape {dy.shape}")
    cdef fl_dense d = fl_dense(rows=xs.shape[0], inputs=xs.shape[1], units=dys.shape[1], isa=isa, threads=threads)
    cdef cnp.ndarray dkernel = empty(2, d.inputs, d.units, 0, 0, typenum)
    cdef cnp.ndarray dbias = empty(1, d.units, 0, 0, 0, typenum) if with_bias else None
    cdef void *dbias_data = cnp.PyArray_DATA(dbias) if with_bias else NULL
    cdef PyThreadState *state = release_gil(work_of(&d))
    status = driver_of(typenum).backward_weight(&d, cnp.PyArray_DATA(xs), cnp.PyArray_DATA(dys),
                                                cnp.PyArray_DATA(dkernel), dbias_data)
    take_gil(state)
    check(status)
    return dkernel, dbias


PASSES = ("forward", "backward_input", "backward_weight")


def workspace(Py_ssize_t rows, Py_ssize_t inputs, Py_ssize_t units, bint double_precision, str which, int isa, int threads):
    """Bytes that the driver of a pass asks for, all threads together; the sums of a bias gradient are not counted."""
    cdef fl_dense d = fl_dense(rows=rows, inputs=inputs, units=units, isa=isa, threads=threads)
    cdef const fl_dense_driver *driver = driver_of(cnp.NPY_DOUBLE if double_precision else cnp.NPY_FLOAT)
    number = PASSES.index(which)
    if rows == 0 or inputs == 0 or units == 0:
        return 0
    fl_probe_begin()
    if number == FL_DENSE_FORWARD:
        driver.forward(&d, NULL, NULL, NULL, NULL, 0, 0)
    elif number == FL_DENSE_BACKWARD_INPUT:
        driver.backward_input(&d, NULL, NULL, NULL)
    else:
        driver.backward_weight(&d, NULL, NULL, NULL, NULL)
    return fl_probe_end()


def algorithm(Py_ssize_t rows, Py_ssize_t inputs, Py_ssize_t units, bint double_precision, str which):
    """Name of the algorithm that a pass ("forward", "backward_input", "backward_weight") of such a layer takes."""
    cdef fl_dense d = fl_dense(rows=rows, inputs=inputs, units=units, isa=0, threads=1)
    number = PASSES.index(which)
    return driver_of(cnp.NPY_DOUBLE if double_precision else cnp.NPY_FLOAT).algorithm(&d, <fl_dense_pass> <int> number).decode()
