# cython: language_level=3, freethreading_compatible=True
"""What Cython modules of other packages may call; see fastlayers/cython_api.pxd."""

from process cimport join_process

join_process()

cdef extern from "fl_types.h":
    int FL_OK

cdef extern from "isa.h":
    int fl_isa_count() nogil
    int fl_isa_supported(int isa) nogil
    int fl_isa_vector_bytes(int isa) nogil

cdef extern from "parallel.h":
    int fl_team(int threads, Py_ssize_t tasks, double work) nogil
    void fl_parallel(int team, Py_ssize_t tasks, Body body, void *job) nogil

cdef extern from "buffers.h":
    void *fl_buffer_get(size_t bytes) nogil
    void fl_buffer_put(void *block, size_t bytes) nogil

cdef extern from "gemm.h":
    ctypedef struct fl_gemm:
        Py_ssize_t m, n, k
        const void *a
        Py_ssize_t rs_a, cs_a
        const void *b
        Py_ssize_t rs_b, cs_b
        double beta
        void *c
        Py_ssize_t rs_c, cs_c
        int isa, threads
    int fl_gemm_f32(const fl_gemm *) nogil
    int fl_gemm_f64(const fl_gemm *) nogil


cdef int current_isa() except -1:
    from fastlayers.settings import current
    return current().isa


cdef int current_threads() except? 0:
    from fastlayers.settings import current
    return current().threads


cdef int check(int status) except -1:
    if status == NO_MEMORY:
        raise MemoryError("a kernel could not allocate its workspace")
    if status != OK:
        raise ValueError("a kernel was given a negative size, or an instruction set that this machine does not have")
    return 0


cdef int vector_bytes(int isa) noexcept nogil:
    return fl_isa_vector_bytes(isa) if 0 <= isa < fl_isa_count() and fl_isa_supported(isa) else 0


ctypedef int (*Driver)(const fl_gemm *) noexcept nogil


cdef int gemm(Driver driver, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const void *a, Py_ssize_t rs_a, Py_ssize_t cs_a,
              const void *b, Py_ssize_t rs_b, Py_ssize_t cs_b, double beta, void *c, Py_ssize_t rs_c, Py_ssize_t cs_c,
              int isa, int threads) noexcept nogil:
    cdef fl_gemm g
    if m < 0 or n < 0 or k < 0 or not vector_bytes(isa):
        return BAD_ARGUMENT
    g.m, g.n, g.k, g.a, g.rs_a, g.cs_a, g.b, g.rs_b, g.cs_b = m, n, k, a, rs_a, cs_a, b, rs_b, cs_b
    g.beta, g.c, g.rs_c, g.cs_c, g.isa, g.threads = beta, c, rs_c, cs_c, isa, threads
    return OK if driver(&g) == FL_OK else NO_MEMORY


cdef int gemm_f32(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const float *a, Py_ssize_t rs_a, Py_ssize_t cs_a,
                  const float *b, Py_ssize_t rs_b, Py_ssize_t cs_b, float beta, float *c, Py_ssize_t rs_c,
                  Py_ssize_t cs_c, int isa, int threads) noexcept nogil:
    return gemm(<Driver> fl_gemm_f32, m, n, k, a, rs_a, cs_a, b, rs_b, cs_b, beta, c, rs_c, cs_c, isa, threads)


cdef int gemm_f64(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const double *a, Py_ssize_t rs_a, Py_ssize_t cs_a,
                  const double *b, Py_ssize_t rs_b, Py_ssize_t cs_b, double beta, double *c, Py_ssize_t rs_c,
                  Py_ssize_t cs_c, int isa, int threads) noexcept nogil:
    return gemm(<Driver> fl_gemm_f64, m, n, k, a, rs_a, cs_a, b, rs_b, cs_b, beta, c, rs_c, cs_c, isa, threads)


cdef int team_size(int threads, Py_ssize_t tasks, double work) noexcept nogil:
    return fl_team(threads, tasks, work)


cdef void parallel_for(int team, Py_ssize_t tasks, Body body, void *job) noexcept nogil:
    fl_parallel(team, tasks, body, job)


cdef void *scratch_get(size_t bytes) noexcept nogil:
    return fl_buffer_get(bytes)


cdef void scratch_put(void *block, size_t bytes) noexcept nogil:
    fl_buffer_put(block, bytes)
