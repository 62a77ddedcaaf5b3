"""What all kernel modules of the process share: what is known of teams, and the pool of buffers.

One line in every module, `join_process()`, makes it count and allocate where the runtime module does.
"""

cdef extern from "parallel.h":
    void fl_parallel_init()
    ctypedef struct fl_teams
    void fl_teams_share(fl_teams *teams)

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
    teams, pool = runtime.shared_addresses()
    fl_parallel_init()
    fl_teams_share(<fl_teams *> <size_t> teams)
    fl_buffers_share(<fl_buffers *> <size_t> pool)
    return 0
