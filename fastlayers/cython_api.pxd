"""fastlayers for Cython: matrix products, parallel loops and scratch memory, without the GIL.

    from fastlayers cimport cython_api as fl

Only `current_isa`, `current_threads` and `check` need the GIL: call the first two at the door of your function, and hand their
numbers on to the others. Nothing here remembers them. All else may be called from any thread.

Where a status is returned, it is OK, NO_MEMORY or BAD_ARGUMENT (a negative size, an instruction set that this machine
does not have); results are then not written. `check` makes an exception of it.
"""

cdef enum:
    OK = 0
    NO_MEMORY = 1
    BAD_ARGUMENT = 2

# Do the tasks begin <= task < end, as member `thread` of the team: 0 <= thread < team.
ctypedef void (*Body)(void *job, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil

# ---- with the GIL ----

# The instruction set and the threads that `fl.use` has chosen for the calling thread. `threads` is an order to the
# functions below, not a count: negative for "the default", for instance.
cdef int current_isa() except -1
cdef int current_threads() except? 0

# MemoryError for NO_MEMORY, ValueError for BAD_ARGUMENT.
cdef int check(int status) except -1

# ---- without ----

# Bytes of the vectors of an instruction set: 16, 32 (AVX2 with FMA) or 64 (AVX-512 F, BW, DQ, VL); 0 if it can't run here.
cdef int vector_bytes(int isa) noexcept nogil

# C := beta C + A B      A (m, k), B (k, n), C (m, n)
#
# rs and cs are strides in elements, from row to row and from column to column; a transposed matrix has them exchanged.
# C overlaps neither A nor B. With beta = 0 it is only written, and may hold anything before. The bits depend on
# sizes, strides and instruction set, not on the number of threads.
cdef int gemm_f32(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const float *a, Py_ssize_t rs_a, Py_ssize_t cs_a,
                  const float *b, Py_ssize_t rs_b, Py_ssize_t cs_b, float beta, float *c, Py_ssize_t rs_c,
                  Py_ssize_t cs_c, int isa, int threads) noexcept nogil
cdef int gemm_f64(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const double *a, Py_ssize_t rs_a, Py_ssize_t cs_a,
                  const double *b, Py_ssize_t rs_b, Py_ssize_t cs_b, double beta, double *c, Py_ssize_t rs_c,
                  Py_ssize_t cs_c, int isa, int threads) noexcept nogil

# How many threads to use for `tasks` independent tasks that are `work` flops in all (or, where memory is the limit, four
# times the bytes moved): 1 for little work.
cdef int team_size(int threads, Py_ssize_t tasks, double work) noexcept nogil

# Run body(job, …) over [0, tasks), one contiguous share for each member of the team; within another loop, on the calling
# thread alone. For the same bits with any team, what a task computes must not depend on the share it is in: let tasks
# write to places of their own, and add up partial sums afterwards, in the order of the tasks.
# A process that forks may go on calling this, in parent and child.
cdef void parallel_for(int team, Py_ssize_t tasks, Body body, void *job) noexcept nogil

# Memory aligned to 64 bytes out of the pool, its contents anything, or NULL; and back, with the same number of bytes.
cdef void *scratch_get(size_t bytes) noexcept nogil
cdef void scratch_put(void *block, size_t bytes) noexcept nogil
