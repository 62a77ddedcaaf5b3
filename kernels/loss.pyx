# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""Losses: the mean over the batch, and its gradient."""

cimport numpy as cnp
from arrays cimport check, contiguous, dtype_of, empty_like
from process cimport join_process

cnp.import_array()
join_process()

cdef extern from "loss.h":
    enum: FL_MEAN_SQUARED_ERROR, FL_BINARY_CROSSENTROPY, FL_CATEGORICAL_CROSSENTROPY, FL_SPARSE_CATEGORICAL_CROSSENTROPY
    ctypedef struct fl_loss:
        int loss, from_logits
        Py_ssize_t rows, columns
        int isa, threads
    ctypedef struct fl_loss_driver:
        int (*run)(const fl_loss *, const void *y, const void *targets, void *dy, double *mean) nogil
    const fl_loss_driver fl_loss_driver_f32, fl_loss_driver_f64


cdef tuple run(fl_loss problem, cnp.ndarray y, cnp.ndarray targets):
    """(mean loss, dy) of contiguous arrays whose shapes agree."""
    cdef cnp.ndarray dy = empty_like(y)
    cdef double mean
    cdef int status
    cdef const fl_loss_driver *driver = (
        &fl_loss_driver_f32 if cnp.PyArray_TYPE(y) == cnp.NPY_FLOAT else &fl_loss_driver_f64)
    with nogil:
        status = driver.run(&problem, cnp.PyArray_DATA(y), cnp.PyArray_DATA(targets), cnp.PyArray_DATA(dy), &mean)
    check(status)
    return mean, dy


cdef int expect_same_shape(cnp.ndarray y, cnp.ndarray targets) except -1:
    if not cnp.PyArray_SAMESHAPE(y, targets):
        raise ValueError(f"targets: expected shape {(<object> y).shape} like y, got {(<object> targets).shape}")
    return 0


cdef cnp.ndarray matrix(y, int typenum):
    cdef cnp.ndarray ys = contiguous(y, typenum, "y")
    if cnp.PyArray_NDIM(ys) != 2:
        raise ValueError(f"y: expected 2 axes, got shape {(<object> ys).shape}")
    return ys


cdef cnp.ndarray class_numbers(labels, cnp.ndarray y):
    """The labels as contiguous int64 numbers, one a row of y, that all name one of its columns."""
    if not cnp.PyArray_Check(labels) or not cnp.PyArray_EquivTypenums(cnp.PyArray_TYPE(<cnp.ndarray> labels), cnp.NPY_INT64):
        raise TypeError(f"labels: expected an array of int64, got {getattr(labels, 'dtype', type(labels).__name__)}")
    cdef cnp.ndarray numbers = contiguous(labels, cnp.PyArray_TYPE(<cnp.ndarray> labels), "labels")
    if cnp.PyArray_NDIM(numbers) != 1 or numbers.shape[0] != y.shape[0]:
        raise ValueError(f"labels: expected shape ({y.shape[0]},), got {(<object> numbers).shape}")
    cdef const cnp.int64_t *label = <const cnp.int64_t *> cnp.PyArray_DATA(numbers)
    cdef Py_ssize_t i
    for i in range(numbers.shape[0]):
        if label[i] < 0 or label[i] >= y.shape[1]:
            raise ValueError(f"labels: expected numbers from 0 to {y.shape[1] - 1}, got {label[i]}")
    return numbers


def sparse_categorical_crossentropy(y, labels, bint from_logits, int isa, int threads):
    """loss = -mean of log p[m, labels[m]]; see fastlayers.reference.loss.sparse_categorical_crossentropy."""
    cdef cnp.ndarray ys = matrix(y, dtype_of(y)), numbers = class_numbers(labels, ys)
    return run(fl_loss(loss=FL_SPARSE_CATEGORICAL_CROSSENTROPY, from_logits=from_logits, rows=ys.shape[0],
                       columns=ys.shape[1], isa=isa, threads=threads), ys, numbers)


def categorical_crossentropy(y, targets, bint from_logits, int isa, int threads):
    """loss = -mean of sum(t log p); see fastlayers.reference.loss.categorical_crossentropy."""
    cdef int typenum = dtype_of(y)
    cdef cnp.ndarray ys = matrix(y, typenum), ts = contiguous(targets, typenum, "targets")
    expect_same_shape(ys, ts)
    return run(fl_loss(loss=FL_CATEGORICAL_CROSSENTROPY, from_logits=from_logits, rows=ys.shape[0], columns=ys.shape[1],
                       isa=isa, threads=threads), ys, ts)


def binary_crossentropy(y, targets, bint from_logits, int isa, int threads):
    """loss = -mean of t log p + (1 - t) log(1 - p); see fastlayers.reference.loss.binary_crossentropy."""
    cdef int typenum = dtype_of(y)
    cdef cnp.ndarray ys = contiguous(y, typenum, "y"), ts = contiguous(targets, typenum, "targets")
    expect_same_shape(ys, ts)
    return run(fl_loss(loss=FL_BINARY_CROSSENTROPY, from_logits=from_logits, rows=cnp.PyArray_SIZE(ys), columns=1,
                       isa=isa, threads=threads), ys, ts)


def mean_squared_error(y, targets, int isa, int threads):
    """loss = mean of (y - t)^2; see fastlayers.reference.loss.mean_squared_error."""
    cdef int typenum = dtype_of(y)
    cdef cnp.ndarray ys = contiguous(y, typenum, "y"), ts = contiguous(targets, typenum, "targets")
    expect_same_shape(ys, ts)
    return run(fl_loss(loss=FL_MEAN_SQUARED_ERROR, from_logits=0, rows=cnp.PyArray_SIZE(ys), columns=1,
                       isa=isa, threads=threads), ys, ts)
