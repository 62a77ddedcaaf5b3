"""What every kernel module does with its arrays: check the dtype, make them contiguous, allocate the result."""

cimport cython
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetContext, PyCapsule_GetPointer, PyCapsule_New, PyCapsule_SetContext

cnp.import_array()

cdef extern from "window.h":
    ctypedef struct fl_window:
        Py_ssize_t h, w, oh, ow, kh, kw, sh, sw, dh, dw, top, bottom, left, right

cdef extern from "fl_types.h":
    int FL_OK

cdef extern from "buffers.h":
    void *fl_buffer_get(size_t bytes) nogil
    void fl_buffer_put(void *block, size_t bytes) nogil

cdef extern from *:
    "enum { FL_POOLED_BYTES = 1 << 16 }; /* below, NumPy's own allocator is as quick */"
    size_t FL_POOLED_BYTES


cdef inline int dtype_of(x) except -1:
    """Type number of an array whose kernels exist: NPY_FLOAT or NPY_DOUBLE.  TypeError naming them otherwise."""
    if not cnp.PyArray_Check(x):
        raise TypeError(f"expected a NumPy array of float32 or float64, got {type(x).__name__}")
    cdef int typenum = cnp.PyArray_TYPE(<cnp.ndarray> x)
    if typenum != cnp.NPY_FLOAT and typenum != cnp.NPY_DOUBLE:
        raise TypeError(f"expected an array of float32 or float64, got {(<object> x).dtype}")
    return typenum


cdef inline cnp.ndarray contiguous(x, int typenum, str name):
    """x itself when a kernel can read it as it is, else a C-contiguous, aligned, native copy.

    TypeError when x is not an array of that dtype (conversions are the caller's decision), or has masked elements.
    """
    if not cnp.PyArray_Check(x) or cnp.PyArray_TYPE(<cnp.ndarray> x) != typenum:
        expected = "float32" if typenum == cnp.NPY_FLOAT else "float64" if typenum == cnp.NPY_DOUBLE else f"type {typenum}"
        got = (<object> x).dtype if cnp.PyArray_Check(x) else type(x).__name__
        raise TypeError(f"{name}: expected an array of {expected} like the other arrays of this call, got {got}")
    if cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> x):
        return <cnp.ndarray> x
    if hasattr(x, "mask"):
        raise TypeError(f"{name}: masked arrays are not supported, got {type(x).__name__}; fill it first")
    return <cnp.ndarray> cnp.PyArray_FROMANY(x, typenum, 0, 0, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_ENSUREARRAY | cnp.NPY_ARRAY_NOTSWAPPED)


cdef inline cnp.ndarray writable(x, int typenum, str name):
    """x, which the kernel will write into: it must be usable as it is."""
    if (not cnp.PyArray_Check(x) or cnp.PyArray_TYPE(<cnp.ndarray> x) != typenum
            or not cnp.PyArray_ISCARRAY(<cnp.ndarray> x)):
        raise ValueError(f"{name}: expected a C-contiguous, writable array of native dtype, since it is updated in place")
    return <cnp.ndarray> x


cdef inline void release(object capsule) noexcept:
    fl_buffer_put(PyCapsule_GetPointer(capsule, NULL), <size_t> PyCapsule_GetContext(capsule))


cdef inline cnp.ndarray empty_of(int rank, cnp.npy_intp *sizes, int typenum):
    """A new C-contiguous array; a large one lives in a pooled buffer, which returns there with its last view."""
    cdef size_t bytes = 8 if typenum == cnp.NPY_DOUBLE else 4
    cdef int axis
    for axis in range(rank):
        if sizes[axis] < 0 or (sizes[axis] > 0 and bytes > (<size_t> -1) // <size_t> sizes[axis]):
            raise MemoryError("the result would have more bytes than an address can count")
        bytes *= <size_t> sizes[axis]
    if bytes < FL_POOLED_BYTES or (typenum != cnp.NPY_DOUBLE and typenum != cnp.NPY_FLOAT):
        return <cnp.ndarray> cnp.PyArray_EMPTY(rank, sizes, typenum, 0)
    cdef void *buffer = fl_buffer_get(bytes)
    if buffer == NULL:
        raise MemoryError(f"could not allocate {bytes} bytes for a result")
    owner = PyCapsule_New(buffer, NULL, release)
    PyCapsule_SetContext(owner, <void *> bytes)
    cdef cnp.ndarray array = <cnp.ndarray> cnp.PyArray_SimpleNewFromData(rank, sizes, typenum, buffer)
    cnp.set_array_base(array, owner)
    return array


cdef inline cnp.ndarray empty(int rank, Py_ssize_t d0, Py_ssize_t d1, Py_ssize_t d2, Py_ssize_t d3, int typenum):
    """A new C-contiguous array of the first `rank` sizes."""
    cdef cnp.npy_intp[4] sizes
    sizes[0], sizes[1], sizes[2], sizes[3] = d0, d1, d2, d3
    return empty_of(rank, sizes, typenum)


cdef inline cnp.ndarray empty_like(cnp.ndarray x):
    """A new C-contiguous array of x's shape and dtype."""
    return empty_of(cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x))


cdef inline fl_window window_of(geometry) except *:
    """The C twin of a shapes.Window2D."""
    cdef fl_window window
    if not isinstance(geometry, tuple) or len(<tuple> geometry) != 14:
        raise TypeError(f"window: expected a shapes.Window2D, got {geometry!r}")
    (window.h, window.w, window.oh, window.ow, window.kh, window.kw, window.sh, window.sw, window.dh, window.dw,
     window.top, window.bottom, window.left, window.right) = <tuple> geometry
    return window


cdef inline int check(int status) except -1:
    """Turn a driver's status into an exception."""
    if status != FL_OK:
        raise MemoryError("a kernel could not allocate its workspace")
    return 0
