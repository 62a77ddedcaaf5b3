"""What all kernel modules of the process share: the counter of parallel regions and the pool of buffers.

One line in every module, `join_process()`, makes it count and allocate where the runtime module does.
"""

cdef extern from "parallel.h":
    void fl_parallel_init()
    void fl_share_regions_in_flight(int *counter)

cdef extern from "buffers.h":
    ctypedef struct fl_buffers
    void fl_buffers_share(fl_buffers *pool)


cdef inline int join_process() except -1:
    from fastlayers._kernels import runtime
    regions, pool = runtime.shared_addresses()
    fl_parallel_init()
    fl_share_regions_in_flight(<int *> <size_t> regions)
    fl_buffers_share(<fl_buffers *> <size_t> pool)
    return 0
