# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""Dropout, whose backward is itself."""

cimport numpy as cnp
from arrays cimport contiguous, dtype_of, empty_like
from libc.stdint cimport uint64_t
from process cimport join_process

cnp.import_array()
join_process()

cdef extern from "dropout.h":
    ctypedef struct fl_dropout_driver:
        void (*forward)(Py_ssize_t n, const void *x, void *y, double rate, uint64_t seed, uint64_t counter, int isa,
                        int threads) nogil
    const fl_dropout_driver fl_dropout_driver_f32, fl_dropout_driver_f64


def dropout(x, double rate, uint64_t seed, uint64_t counter, int isa, int threads):
    """y = x / (1 - rate) where u >= rate, else 0; see fastlayers.reference.dropout.dropout."""
    if not 0 <= rate < 1:
        raise ValueError(f"rate: expected 0 <= rate < 1, got {rate}")
    cdef int typenum = dtype_of(x)
    cdef cnp.ndarray xs = contiguous(x, typenum, "x"), y = empty_like(xs)
    cdef const fl_dropout_driver *driver = &fl_dropout_driver_f32 if typenum == cnp.NPY_FLOAT else &fl_dropout_driver_f64
    with nogil:
        driver.forward(cnp.PyArray_SIZE(xs), cnp.PyArray_DATA(xs), cnp.PyArray_DATA(y), rate, seed, counter, isa, threads)
    return y
