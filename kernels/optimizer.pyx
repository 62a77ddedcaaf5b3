# cython: language_level=3, boundscheck=False, freethreading_compatible=True
"""One step of an optimizer on one weight, in place."""

cimport numpy as cnp
from arrays cimport contiguous, dtype_of, writable
from libc.math cimport pow, sqrt
from process cimport join_process

cnp.import_array()
join_process()

cdef extern from "optimizer.h":
    ctypedef struct fl_sgd:
        double learning_rate, momentum, weight_decay
        int nesterov
    ctypedef struct fl_adam:
        double alpha, learning_rate, beta_1, beta_2, epsilon, weight_decay
    ctypedef struct fl_optimizer_driver:
        void (*sgd)(const fl_sgd *, Py_ssize_t n, const void *grad, void *value, void *velocity, int isa, int threads) nogil
        void (*adam)(const fl_adam *, Py_ssize_t n, const void *grad, void *value, void *m, void *v, int isa,
                     int threads) nogil
    const fl_optimizer_driver fl_optimizer_driver_f32, fl_optimizer_driver_f64


cdef inline const fl_optimizer_driver *driver_of(int typenum) noexcept nogil:
    return &fl_optimizer_driver_f32 if typenum == cnp.NPY_FLOAT else &fl_optimizer_driver_f64


cdef bint overlap(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two contiguous arrays share memory."""
    cdef char *a_begin = <char *> cnp.PyArray_DATA(a)
    cdef char *b_begin = <char *> cnp.PyArray_DATA(b)
    return a_begin < b_begin + cnp.PyArray_NBYTES(b) and b_begin < a_begin + cnp.PyArray_NBYTES(a)


cdef tuple prepared(value, grad, tuple slots):
    """(value, grad, *slots) as the kernels take them: of one shape, and what is written to overlaps nothing else."""
    cdef int typenum = dtype_of(value)
    cdef cnp.ndarray g = contiguous(grad, typenum, "grad")
    cdef list written = [writable(value, typenum, "value")]
    for slot in slots:
        array = writable(slot, typenum, "slot")
        if any(overlap(array, <cnp.ndarray> other) for other in written):
            raise ValueError("slot: expected memory of its own, which neither value nor another slot uses")
        written.append(array)
    for array in (g, *written):
        if not cnp.PyArray_SAMESHAPE(<cnp.ndarray> array, <cnp.ndarray> value):
            raise ValueError(f"expected value, grad and slots of one shape, got {value.shape} and {array.shape}")
    if any(overlap(g, <cnp.ndarray> array) for array in written):
        g = g.copy()
    return written[0], g, *written[1:]


def sgd_update(value, grad, velocity, double learning_rate, double momentum, bint nesterov, double weight_decay, int isa,
               int threads):
    """velocity = momentum velocity - learning_rate grad; value += velocity; see fastlayers.reference.optimizer.sgd_update."""
    cdef cnp.ndarray w, g, slot = None
    if velocity is None:
        w, g = prepared(value, grad, ())
    else:
        w, g, slot = prepared(value, grad, (velocity,))
    cdef void *slot_data = NULL if slot is None else cnp.PyArray_DATA(slot)
    cdef fl_sgd rates = fl_sgd(learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov)
    with nogil:
        driver_of(cnp.PyArray_TYPE(w)).sgd(&rates, cnp.PyArray_SIZE(w), cnp.PyArray_DATA(g), cnp.PyArray_DATA(w), slot_data,
                                           isa, threads)


def adam_update(value, grad, m, v, long long step, double learning_rate, double beta_1, double beta_2, double epsilon,
                double weight_decay, int isa, int threads):
    """value -= alpha m / (sqrt(v) + epsilon); see fastlayers.reference.optimizer.adam_update."""
    cdef cnp.ndarray w, g, mean, square
    w, g, mean, square = prepared(value, grad, (m, v))
    cdef double alpha = learning_rate * sqrt(1 - pow(beta_2, <double> step)) / (1 - pow(beta_1, <double> step))
    cdef fl_adam rates = fl_adam(alpha=alpha, learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon,
                                 weight_decay=weight_decay)
    with nogil:
        driver_of(cnp.PyArray_TYPE(w)).adam(&rates, cnp.PyArray_SIZE(w), cnp.PyArray_DATA(g), cnp.PyArray_DATA(w),
                                            cnp.PyArray_DATA(mean), cnp.PyArray_DATA(square), isa, threads)
