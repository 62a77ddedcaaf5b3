"""Every op as a plain function over arrays, for those who bring their own framework.

Each function checks its arguments once and runs the compiled kernel (or the NumPy reference, under
`fastlayers.use(backend="reference")`). Arrays are float32 or float64, the same within a call, in any memory
layout; results are new C-contiguous arrays of that dtype, and no argument is written into but those that a
docstring names.
"""

from fastlayers.ops.activation import (
    activation,
    activation_backward,
    elu,
    gelu,
    leaky_relu,
    relu,
    sigmoid,
    silu,
    softmax,
    softmax_backward,
    softplus,
    tanh,
)
from fastlayers.ops.conv import (
    algorithm_names,
    check_algorithm,
    chosen_algorithms,
    conv2d,
    conv2d_backward_input,
    conv2d_backward_weight,
    workspaces,
)
from fastlayers.ops.dense import dense, dense_backward_input, dense_backward_weight
from fastlayers.ops.dropout import dropout
from fastlayers.ops.loss import (
    binary_crossentropy,
    categorical_crossentropy,
    mean_squared_error,
    sparse_categorical_crossentropy,
)
from fastlayers.ops.merge import add, multiply
from fastlayers.ops.optimizer import adam_update, sgd_update
from fastlayers.ops.pool import (
    average_pool2d,
    average_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
    max_pool2d_with_argmax,
)

__all__ = [
    "activation",
    "activation_backward",
    "adam_update",
    "add",
    "algorithm_names",
    "average_pool2d",
    "average_pool2d_backward",
    "binary_crossentropy",
    "categorical_crossentropy",
    "check_algorithm",
    "chosen_algorithms",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "dense",
    "dense_backward_input",
    "dense_backward_weight",
    "dropout",
    "elu",
    "gelu",
    "leaky_relu",
    "max_pool2d",
    "max_pool2d_backward",
    "max_pool2d_with_argmax",
    "mean_squared_error",
    "multiply",
    "relu",
    "sgd_update",
    "sigmoid",
    "silu",
    "softmax",
    "softmax_backward",
    "softplus",
    "sparse_categorical_crossentropy",
    "tanh",
    "workspaces",
]
