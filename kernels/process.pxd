"""What all kernel modules of the process share: the counter of parallel regions and the pool of buffers.

One line in every module, `join_process()`, makes it count and allocate where the runtime module does.
"""

cdef extern from "parallel.h":
    void fl_parallel_init()
    void fl_share_regions_in_flight(int *counter)

cdef extern from "buffers.h":
    void fl_probe_begin()
    size_t fl_probe_end()
    ctypedef struct fl_buffers
    void fl_buffers_share(fl_buffers *pool)


cdef extern from "Python.h":
    ctypedef struct PyThreadState
    PyThreadState *PyEval_SaveThread()
    void PyEval_RestoreThread(PyThreadState *)


cdef inline PyThreadState *release_gil(double work) noexcept:
    """Let other Python threads run while a kernel does `work` flops, unless that is over before they could start."""
    return PyEval_SaveThread() if work > 1e5 else NULL


cdef inline void take_gil(PyThreadState *state) noexcept:
    """Back from `release_gil`."""
    if state != NULL:
        PyEval_RestoreThread(state)


cdef inline int join_process() except -1:
    from fastlayers._kernels import runtime
    regions, pool = runtime.shared_addresses()
    fl_parallel_init()
    fl_share_regions_in_flight(<int *> <size_t> regions)
    fl_buffers_share(<fl_buffers *> <size_t> pool)
    return 0
