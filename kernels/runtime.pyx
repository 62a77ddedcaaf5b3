# cython: language_level=3, freethreading_compatible=True
"""Instruction sets, OpenMP and build facts; state that all kernel modules of the process share."""

cimport numpy as cnp

cnp.import_array()

cdef extern from "isa.h":
    int fl_isa_count()
    const char *fl_isa_name(int isa)
    int fl_isa_supported(int isa)

cdef extern from "parallel.h":
    enum: FL_MAX_THREADS, FL_FORCE_TEAM
    ctypedef void (*fl_body)(void *job, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil
    int fl_team(int threads, Py_ssize_t tasks, double work) nogil
    void fl_parallel(int team, Py_ssize_t tasks, fl_body body, void *job) nogil
    ctypedef struct fl_teams
    fl_teams *fl_teams_shared()
    void fl_parallel_init()
    int fl_openmp_version()
    int fl_openmp_max_threads()

cdef extern from "burst.h":
    const double FL_WAKE_WORK
    ctypedef struct fl_burst:
        int small
    int fl_burst_joins(fl_burst *burst, double now, double work)
    void fl_burst_ended(fl_burst *burst, double now, int shared)

cdef extern from "buffers.h":
    ctypedef struct fl_buffers
    fl_buffers *fl_buffers_shared()
    void fl_buffers_init()
    size_t fl_buffers_idle() nogil
    size_t fl_buffers_in_use() nogil
    size_t fl_buffers_peak() nogil
    void fl_buffers_limit(size_t bytes) nogil
    void fl_buffers_empty() nogil

cdef extern from *:
    """
    #if defined(__clang__)
    #define FL_COMPILER __VERSION__
    #elif defined(__GNUC__)
    #define FL_COMPILER "GCC " __VERSION__
    #else
    #define FL_COMPILER "unknown"
    #endif
    """
    const char *FL_COMPILER

MAX_THREADS = FL_MAX_THREADS
FORCE_TEAM = FL_FORCE_TEAM

fl_parallel_init()
fl_buffers_init()


def shared_addresses():
    """Where what is known of teams and the pool of buffers live, for the other kernel modules."""
    return <size_t> fl_teams_shared(), <size_t> fl_buffers_shared()


def idle_buffer_bytes():
    """Bytes of released arrays and workspaces that wait for reuse."""
    return fl_buffers_idle()


def buffer_bytes_in_use():
    """Bytes of the pool's blocks that arrays and workspaces hold now."""
    return fl_buffers_in_use()


def peak_buffer_bytes():
    """The most bytes that were in use at once since this function was last called."""
    return fl_buffers_peak()


def limit_idle_buffers(size_t limit):
    """Keep no more than `limit` bytes for reuse; 0 switches reuse off."""
    fl_buffers_limit(limit)


def empty_buffers():
    """Give all memory that waits for reuse back to the system."""
    fl_buffers_empty()


def isa_names():
    """Names of the instruction sets that this build has kernels for, slowest first."""
    return [fl_isa_name(isa).decode() for isa in range(fl_isa_count())]


def isa_supported(int isa):
    """Whether this CPU, under this operating system, can run the instruction set of that index."""
    if not 0 <= isa < fl_isa_count():
        raise IndexError(f"isa: expected 0 to {fl_isa_count() - 1}, got {isa}")
    return bool(fl_isa_supported(isa))


def openmp_version():
    """The date of the OpenMP specification that the compiler implements (yyyymm), 0 when built without OpenMP."""
    return fl_openmp_version()


def openmp_max_threads():
    """OpenMP's own limit at this moment: OMP_NUM_THREADS, threadpoolctl and the like."""
    return fl_openmp_max_threads()


def compiler():
    """Version text of the C compiler that built the kernels."""
    return FL_COMPILER.decode()


cdef void note_thread(void *job, Py_ssize_t begin, Py_ssize_t end, int thread) noexcept nogil:
    (<int *> job)[thread] = 1


def team_size(int threads, Py_ssize_t tasks, double work):
    """How many threads really take part in a region of so many tasks and so much work."""
    cdef int[64] seen
    cdef int team = fl_team(threads, tasks, work)
    if team > 64:
        raise ValueError(f"threads: expected at most 64 here, got {team}")
    for thread in range(64):
        seen[thread] = 0
    with nogil:
        fl_parallel(team, tasks, note_thread, <void *> seen)
    return sum([seen[thread] for thread in range(64)])


cdef class Burst:
    """The rule by which small ops are shared out, on a clock of the caller's: burst.h."""

    cdef fl_burst burst

    def op(self, double begin, double end, double work):
        """Whether a team shares the op that begins and ends then."""
        self.burst.small = work < FL_WAKE_WORK
        shared = not self.burst.small or bool(fl_burst_joins(&self.burst, begin, work))
        fl_burst_ended(&self.burst, end, shared)
        return shared


def plain_floats(*arrays):
    """Whether all of them are exact ndarrays of one dtype, native float32 or float64; None is passed over."""
    cdef int typenum = -1
    for array in arrays:
        if array is None:
            continue
        if not cnp.PyArray_CheckExact(array) or not cnp.PyArray_ISNOTSWAPPED(<cnp.ndarray> array):
            return False
        if typenum < 0:
            typenum = cnp.PyArray_TYPE(<cnp.ndarray> array)
        if cnp.PyArray_TYPE(<cnp.ndarray> array) != typenum:
            return False
    return typenum == cnp.NPY_FLOAT or typenum == cnp.NPY_DOUBLE


def all_below(const cnp.int64_t[::1] numbers, cnp.int64_t bound):
    """Whether all of these numbers are in 0 ... bound - 1."""
    cdef Py_ssize_t i
    for i in range(numbers.shape[0]):
        if numbers[i] < 0 or numbers[i] >= bound:
            return False
    return True
