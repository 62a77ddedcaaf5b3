# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The functions of `reference`, compiled: the same arguments, the same results, in one pass over memory.

Arguments are C-contiguous and read-only, hence const. Both functions release the GIL.
"""

import numpy as np

from cython cimport floating  # float and double: each function is compiled for both
from libc.math cimport fabs


def forward(const floating[:, ::1] x, const floating[::1] scale):
    y = np.empty_like(x)
    cdef floating[:, ::1] out = y
    cdef Py_ssize_t row, c
    cdef floating one = 1  # a plain 1 would make doubles of floats
    with nogil:
        for row in range(x.shape[0]):
            for c in range(x.shape[1]):
                out[row, c] = scale[c] * x[row, c] / (one + <floating> fabs(x[row, c]))
    return y


def backward(const floating[:, ::1] dy, const floating[:, ::1] x, const floating[::1] scale):
    dx, sums = np.empty_like(x), np.zeros(x.shape[1])
    cdef floating[:, ::1] out = dx
    cdef double[::1] dscale = sums  # sums in double
    cdef Py_ssize_t row, c
    cdef floating d, one = 1
    with nogil:
        for row in range(x.shape[0]):
            for c in range(x.shape[1]):
                d = one + <floating> fabs(x[row, c])
                out[row, c] = dy[row, c] * scale[c] / (d * d)
                dscale[c] += dy[row, c] * x[row, c] / d
    return dx, sums.astype(dx.dtype)
