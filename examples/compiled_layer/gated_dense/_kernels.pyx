# cython: language_level=3, boundscheck=False, wraparound=False
"""The compiled twins of gated_dense.forward and gated_dense.backward."""

import numpy as np

from fastlayers cimport cython_api as fl

cdef extern from "gate.h":
    ctypedef struct gate:
        void (*forward)(Py_ssize_t begin, Py_ssize_t end, Py_ssize_t units, const void *z, void *y) noexcept nogil
        void (*backward)(Py_ssize_t begin, Py_ssize_t end, Py_ssize_t units, const void *dy, const void *z,
                         void *dz) noexcept nogil
    const gate *gate_of(int vector_bytes, int is_double) nogil

ctypedef fused real:
    float
    double

ctypedef struct Job:  # what the threads share
    const gate *body
    Py_ssize_t units
    const void *dy  # NULL in forward
    const void *z
    void *out

cdef enum:
    FLOPS = 40  # of a sigmoid, roughly


cdef void some_rows(void *job_, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    cdef Job *job = <Job *> job_
    if job.dy == NULL:
        job.body.forward(begin, end, job.units, job.z, job.out)
    else:
        job.body.backward(begin, end, job.units, job.dy, job.z, job.out)


cdef void all_rows(Job *job, Py_ssize_t rows, int threads) noexcept nogil:
    """Rows are computed each for itself, so that the bits are the same for any number of threads."""
    fl.parallel_for(fl.team_size(threads, rows, <double> FLOPS * rows * job.units), rows, some_rows, job)


cdef int gemm(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const real *a, Py_ssize_t rs_a, Py_ssize_t cs_a, const real *b,
              Py_ssize_t rs_b, Py_ssize_t cs_b, real beta, real *c, int isa, int threads) noexcept nogil:
    """C (m, n), contiguous := beta C + A B"""
    if real is float:
        return fl.gemm_f32(m, n, k, a, rs_a, cs_a, b, rs_b, cs_b, beta, c, n, 1, isa, threads)
    else:
        return fl.gemm_f64(m, n, k, a, rs_a, cs_a, b, rs_b, cs_b, beta, c, n, 1, isa, threads)


def forward(const real[:, ::1] x, const real[:, ::1] kernel, const real[::1] bias):
    cdef Py_ssize_t rows = x.shape[0], inputs = x.shape[1], units = kernel.shape[1] // 2
    cdef int isa = fl.current_isa(), threads = fl.current_threads(), status = fl.OK
    z = np.empty((rows, 2 * units), np.asarray(x).dtype)
    z[:] = bias
    y = np.empty((rows, units), z.dtype)
    cdef real[:, ::1] zs = z, ys = y
    cdef Job job
    job.body, job.units, job.dy = gate_of(fl.vector_bytes(isa), real is double), units, NULL
    job.z, job.out = &zs[0, 0], &ys[0, 0]
    with nogil:
        status = gemm[real](rows, 2 * units, inputs, &x[0, 0], inputs, 1, &kernel[0, 0], 2 * units, 1, 1, &zs[0, 0], isa,
                            threads)
        if status == fl.OK:
            all_rows(&job, rows, threads)
    fl.check(status)
    return y, z


def backward(const real[:, ::1] dy, const real[:, ::1] z, const real[:, ::1] x, const real[:, ::1] kernel):
    cdef Py_ssize_t rows = x.shape[0], inputs = x.shape[1], units = dy.shape[1], wide = 2 * units
    cdef int isa = fl.current_isa(), threads = fl.current_threads(), status = fl.OK
    dz, dx = np.empty_like(z), np.empty_like(x)
    dkernel, dbias = np.empty_like(kernel), np.empty(wide, dz.dtype)
    cdef real[:, ::1] dzs = dz, dxs = dx, dkernels = dkernel
    cdef real[::1] dbiases = dbias
    cdef real one = 1
    cdef Job job
    job.body, job.units, job.dy = gate_of(fl.vector_bytes(isa), real is double), units, &dy[0, 0]
    job.z, job.out = &z[0, 0], &dzs[0, 0]
    with nogil:
        all_rows(&job, rows, threads)
        # dx = dz Wᵀ, dW = xᵀ dz, db = 1ᵀ dz: a transposed matrix has its strides exchanged, strides of 0 repeat a number
        status = gemm[real](rows, inputs, wide, &dzs[0, 0], wide, 1, &kernel[0, 0], 1, wide, 0, &dxs[0, 0], isa, threads)
        if status == fl.OK:
            status = gemm[real](inputs, wide, rows, &x[0, 0], 1, inputs, &dzs[0, 0], wide, 1, 0, &dkernels[0, 0], isa,
                                threads)
        if status == fl.OK:
            status = gemm[real](1, wide, rows, &one, 0, 0, &dzs[0, 0], wide, 1, 0, &dbiases[0], isa, threads)
    fl.check(status)
    return dx, dkernel, dbias
