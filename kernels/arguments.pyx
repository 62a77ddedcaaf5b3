# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""The arguments of a call as a kernel may have them, and the class of calls that look alike to it."""

cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM

cnp.import_array()

cdef enum:
    WHOLE = 16  # lanes of the widest vector: multiples of it leave no tail


cdef inline int bit_length(Py_ssize_t n) noexcept:
    cdef int bits = 0
    while n:
        bits += 1
        n >>= 1
    return bits


cdef inline char bucket(Py_ssize_t n) noexcept:
    """0 and 1 are their own; above, twice the bit length, and one more for multiples of WHOLE."""
    return <char> (n if n < 2 else 2 * bit_length(n) + (n % WHOLE == 0))


cdef bytes class_of(cnp.ndarray x):
    """The character of the dtype, then the bucket of each size."""
    cdef char[72] text
    cdef int axis, rank = cnp.PyArray_NDIM(x)
    text[0] = x.descr.type
    for axis in range(rank):
        text[axis + 1] = bucket(cnp.PyArray_DIM(x, axis))
    return PyBytes_FromStringAndSize(text, rank + 1)


cdef inline bint has_kernels(int typenum) noexcept:
    return (typenum == cnp.NPY_FLOAT or typenum == cnp.NPY_DOUBLE
            or cnp.PyTypeNum_ISINTEGER(typenum) or cnp.PyTypeNum_ISBOOL(typenum))


cdef cnp.ndarray read_only(cnp.ndarray x, str name):
    """A view of x, or of a copy where x is not C-contiguous, aligned and native, that cannot be written to."""
    cdef int typenum = cnp.PyArray_TYPE(x)
    if not has_kernels(typenum):
        raise TypeError(f"{name}: expected an array of float32, float64, integers or bools, got {x.dtype}")
    if not (cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(x)):
        if hasattr(x, "mask"):
            raise TypeError(f"{name}: masked arrays are not supported, got {type(x).__name__}; fill it first")
        x = <cnp.ndarray> cnp.PyArray_FROMANY(
            x, typenum, 0, 0, cnp.NPY_ARRAY_CARRAY_RO | cnp.NPY_ARRAY_ENSUREARRAY | cnp.NPY_ARRAY_NOTSWAPPED)
    if not cnp.PyArray_ISWRITEABLE(x):
        return x
    cdef cnp.ndarray view = <cnp.ndarray> cnp.PyArray_SimpleNewFromData(
        cnp.PyArray_NDIM(x), cnp.PyArray_DIMS(x), typenum, cnp.PyArray_DATA(x))
    cnp.set_array_base(view, x)
    cnp.PyArray_CLEARFLAGS(view, cnp.NPY_ARRAY_WRITEABLE)
    return view


cdef inline bint is_plain(value):
    return value is None or type(value) in (int, float, bool, str, complex, bytes)


cdef text_of(value, str name):
    """What tells a plain value from all others: 1 from 1.0 and True, 0.0 from -0.0, and NaN is itself."""
    if not is_plain(value):
        if cnp.PyArray_CheckScalar(value):
            return type(value), repr(value)
        if type(value) is tuple:
            return tuple([text_of(part, name) for part in <tuple> value])
        raise TypeError(f"{name}: expected an array, or a number, str, bool, None or a tuple of such, "
                        f"got {type(value).__name__}")
    return repr(value)


cdef inline void put(tuple items, Py_ssize_t position, item):
    """Into a new tuple, which takes a reference."""
    Py_INCREF(item)
    PyTuple_SET_ITEM(items, position, item)


def prepare(tuple args, tuple names, int isa):
    """(key, arguments): the arguments as a compiled function may have them, and the class of this call.

    Arrays become exact, C-contiguous, aligned, native and read-only: views, or copies where they were not so. Calls are in
    one class if they have the same instruction set, the same values of what is not an array, and arrays of the
    same dtype whose sizes are in the same buckets: 0, 1, 2…3, 4…7, and so on, with multiples of 16 apart.

    Raises TypeError for arrays of other types than float32, float64, integers and bools, for masked arrays, and for
    objects that are neither arrays nor plain values; it says which of `names` that is.
    """
    cdef Py_ssize_t position, count = len(args)
    cdef tuple key = PyTuple_New(count + 1), given = PyTuple_New(count)
    put(key, 0, isa)
    for position in range(count):
        value = args[position]
        if cnp.PyArray_Check(value):
            value = read_only(<cnp.ndarray> value, <str> names[position])
            put(key, position + 1, class_of(<cnp.ndarray> value))
        else:
            put(key, position + 1, text_of(value, <str> names[position]))
        put(given, position, value)
    return key, given
