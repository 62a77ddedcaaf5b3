"""The mistakes that can be told from what a layer does, by name."""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """`name` is one of `HINTS`; `hint` says what to look for."""

    name: str
    hint: str


HINTS = {
    # gradients
    "no gradient": "backward leaves it out",
    "unused weight": "forward does not use it",
    "dy ignored": "backward gives the same whatever dy is: multiply by dy, the chain rule",
    "twice the gradient": "a factor 2 too many in backward, or a term that is added twice",
    "half the gradient": "a factor 2 is missing in backward, or one of two terms",
    "wrong sign": "a minus too many or too few in backward",
    "mean instead of sum": "gradients are sums; only the loss knows about means",
    "sum instead of mean": "forward takes a mean, whose 1/n is missing in backward",
    "constant factor": "every entry is off by the same factor",
    "weight's factor missing": "backward leaves out the weight by which forward multiplies",
    "weight's factor twice": "backward multiplies by the weight once more than forward",
    "missing sum": "forward uses each weight for every example and position; their gradients add up",
    "sum over too many axes": "every entry along an axis got the sum along it",
    "transposed": "rows and columns are exchanged",
    "axes in wrong order": "the numbers are right, but in other places: transpose, where now it may be reshape",
    "flipped": "the numbers are right, but in reverse order",
    "gradients exchanged": "each gradient is that of the other",
    "derivative missing": "dx is dy as it came: multiply by ∂y/∂x",
    "activation's derivative missing": "dy must be multiplied by the derivative of the activation first",
    "activation's derivative twice": "dy is multiplied by the derivative of the activation more than once",
    "gradient overwritten": "backward must add to .grad, `p.grad += …`; `p.grad = …` loses what was there",
    # forms
    "wrong output shape": "compute_output_shape(input_shape) must return the shape of y without the batch axis",
    "output axes in another order": "the sizes are right, their order is not",
    "batch axis in output shape": "shapes are those of one example: leave the batch axis out",
    "wrong dx": "dx has the shape of x, a tuple where x is one, in the layer's dtype",
    "float64 leak": "an array or NumPy scalar made without dtype=x.dtype is float64, and so is all it meets",
    "float32 leak": "something inside is float32 whatever the layer's dtype",
    # state
    "x modified": "work on a copy of x, not in place: others use it too",
    "dy modified": "work on a copy of dy, not in place: others use it too",
    "cache modified": "backward must not write into the cache, nor add_gradient(…) an array that is used elsewhere",
    "weight modified": "only optimizers change weights; state that changes is add_weight(…, trainable=False)",
    "state modified in inference": "with training=False, forward must change nothing",
    "cache on self": "return what backward needs from forward; an attribute holds only the last call's",
    "result overwritten": "forward returns memory that a later call writes into: return a new array",
    "state between calls": "what one call leaves on self changes the next: keep such state in "
    "add_weight(…, trainable=False)",
    "random numbers from outside": "draw them from a generator on self, np.random.default_rng(seed), so that "
    "a run can be repeated",
    # use
    "memory layout": "the numbers are read as if the array were contiguous: np.ascontiguousarray(…) first",
    "batch of 0": "a mean over no examples, perhaps",
    "batch size": "the batch may have any size: take it from x.shape[0]",
    "infer differs": "infer(x) must return the y of forward(x)",
    "argument not stored": "get_config must hold what the constructor needs to make the same layer again",
    "state outside the weights": "state that is kept on self is not saved: use add_weight(…, trainable=False)",
    "compiled twin differs": "the compiled function is not what its NumPy twin says; layers run in NumPy meanwhile",
    "precision lost": "cancellation, or a narrower type inside",
}


def cause(name: str, detail: str = "") -> Cause:
    """The cause of this name; `detail` says what was seen."""
    return Cause(name, HINTS[name] + (f" ({detail})" if detail else ""))
