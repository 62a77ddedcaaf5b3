"""Activation names -> the numbers that the kernels know them by."""

cdef extern from "activation_codes.h":
    enum: FL_LINEAR, FL_RELU, FL_LEAKY_RELU, FL_ELU, FL_GELU, FL_SILU, FL_SIGMOID, FL_TANH, FL_SOFTPLUS


cdef inline int activation_code(str name) except -1:
    if name == "linear": return FL_LINEAR
    if name == "relu": return FL_RELU
    if name == "leaky_relu": return FL_LEAKY_RELU
    if name == "elu": return FL_ELU
    if name == "gelu": return FL_GELU
    if name == "silu": return FL_SILU
    if name == "sigmoid": return FL_SIGMOID
    if name == "tanh": return FL_TANH
    if name == "softplus": return FL_SOFTPLUS
    raise ValueError(f"activation: expected an element-wise activation, got {name!r}")
