# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""Sums and products of two arrays, element by element."""

cimport numpy as cnp
from arrays cimport contiguous, dtype_of, empty_like
from process cimport join_process

cnp.import_array()
join_process()

cdef extern from "merge.h":
    ctypedef void (*fl_merge)(Py_ssize_t n, const void *a, const void *b, void *y, int isa, int threads) noexcept nogil
    ctypedef struct fl_merge_driver:
        fl_merge add, multiply
    const fl_merge_driver fl_merge_driver_f32, fl_merge_driver_f64


cdef inline const fl_merge_driver *driver_of(int typenum) noexcept nogil:
    return &fl_merge_driver_f32 if typenum == cnp.NPY_FLOAT else &fl_merge_driver_f64


cdef cnp.ndarray merged(fl_merge function, int typenum, a, b, int isa, int threads):
    cdef cnp.ndarray left = contiguous(a, typenum, "a"), right = contiguous(b, typenum, "b")
    if not cnp.PyArray_SAMESHAPE(left, right):
        raise ValueError(f"a, b: expected one shape, got {(<object> left).shape} and {(<object> right).shape}")
    cdef cnp.ndarray y = empty_like(left)
    with nogil:
        function(cnp.PyArray_SIZE(left), cnp.PyArray_DATA(left), cnp.PyArray_DATA(right), cnp.PyArray_DATA(y), isa, threads)
    return y


def add(a, b, int isa, int threads):
    """y = a + b; see fastlayers.reference.merge.add."""
    cdef int typenum = dtype_of(a)
    return merged(driver_of(typenum).add, typenum, a, b, isa, threads)


def multiply(a, b, int isa, int threads):
    """y = a b; see fastlayers.reference.merge.multiply."""
    cdef int typenum = dtype_of(a)
    return merged(driver_of(typenum).multiply, typenum, a, b, isa, threads)
