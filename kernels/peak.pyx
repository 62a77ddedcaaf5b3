# cython: language_level=3, freethreading_compatible=True
"""The limits of the machine: nothing but multiply-adds, nothing but copying. The caller holds the clock."""

cimport numpy as cnp
from arrays cimport contiguous, dtype_of, writable
from process cimport join_process

cnp.import_array()
join_process()

cdef extern from "peak.h":
    double fl_multiply_adds_f32(Py_ssize_t rounds, int isa, int threads) nogil
    double fl_multiply_adds_f64(Py_ssize_t rounds, int isa, int threads) nogil
    void fl_copy(void *target, const void *source, size_t bytes, int threads) nogil


def multiply_adds(Py_ssize_t rounds, bint double_precision, int isa, int threads):
    """Do `rounds` rounds of independent multiply-adds in the registers of each thread -> flops done in all."""
    cdef double flops
    with nogil:
        flops = (fl_multiply_adds_f64 if double_precision else fl_multiply_adds_f32)(rounds, isa, threads)
    return flops


def copy(target, source, int threads):
    """target[...] = source, both contiguous, of one size and dtype -> bytes read and written."""
    cdef int typenum = dtype_of(source)
    cdef cnp.ndarray to = writable(target, typenum, "target"), data = contiguous(source, typenum, "source")
    cdef size_t bytes = <size_t> cnp.PyArray_NBYTES(data)
    if <size_t> cnp.PyArray_NBYTES(to) != bytes:
        raise ValueError(f"target: expected {bytes} bytes like source, got {target.nbytes}")
    with nogil:
        fl_copy(cnp.PyArray_DATA(to), cnp.PyArray_DATA(data), bytes, threads)
    return 2 * bytes
