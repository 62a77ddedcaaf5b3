"""A layer that iterates: the deep-equilibrium cell, whose output is a fixed point.

    z = tanh(z·W + x·U + b)      x (N, I), W (O, O), U (I, O), b (O,) -> the z (N, O) that solves it

A network of one layer applied for ever. Bai, Kolter and Koltun, "Deep equilibrium models", NeurIPS 2019.
Forward iterates from z = 0. The equation has one solution, and the iteration finds it, as long as it contracts:
in practice while W is small; if it does not settle, forward says so.

Backward, by the implicit function theorem. No step of the iteration is kept. Let a = z·W + x·U + b, and let
t = 1 - z² be the slope of tanh there. Differentiating both sides of z = tanh(a):

    dz = t·(dz·W + dx·U + db + z·dW)        dz, dx, … here small changes

So a gradient dy with respect to z reaches a as the g (N, O) that solves

    g = t·(dy + g·Wᵀ)

a fixed point again, with the same rate of convergence. From there it is a dense layer:

    dx = g·Uᵀ      dW = zᵀ·g      dU = xᵀ·g      db = Σ over N of g
"""

import numpy as np

import fastlayers as fl

MOST_STEPS = 500


def fixed_point(step, z, who):
    """The z with z = step(z), to the precision of its dtype; FloatingPointError if it does not settle."""
    limit = 4 * np.finfo(z.dtype).eps
    for _ in range(MOST_STEPS):
        before, z = z, step(z)
        if np.abs(z - before).max(initial=0) <= limit * np.abs(z).max(initial=1):
            return z
    raise FloatingPointError(f"{who} does not settle within {MOST_STEPS} steps: its recurrent kernel is too large")


class DeepEquilibrium(fl.Layer, registered_name="examples.DeepEquilibrium"):
    """z = tanh(z·W + x·U + b)      x (N, I) -> z (N, units)"""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units

    def build(self, input_shape):
        small = fl.initializers.RandomNormal(stddev=0.3 / np.sqrt(self.units))
        self.W = self.add_weight("recurrent_kernel", (self.units, self.units), initializer=small)
        self.U = self.add_weight("kernel", (input_shape[-1], self.units))
        self.b = self.add_weight("bias", (self.units,), initializer="zeros")

    def compute_output_shape(self, input_shape):
        return (self.units,)

    def forward(self, x, training=False):
        W, constant = self.W.value, x @ self.U.value + self.b.value
        z = fixed_point(lambda z: np.tanh(z @ W + constant), np.zeros_like(constant), self.name)
        return z, (x, z)

    def backward(self, dy, cache):
        x, z = cache
        W, t = self.W.value, 1 - z * z
        g = fixed_point(lambda g: t * (dy + g @ W.T), t * dy, f"{self.name}: backward")
        self.W.add_gradient(z.T @ g)
        self.U.add_gradient(x.T @ g)
        self.b.add_gradient(g.sum(axis=0))
        return g @ self.U.value.T


def main():
    """Check the cell, train with it -> accuracy on digits the model has not seen."""
    print(fl.check_layer(DeepEquilibrium(4), input_shape=(3,)))

    training, test = fl.datasets.load_digits()
    cell = DeepEquilibrium(32)
    model = fl.Sequential([fl.Flatten(), cell, fl.Dense(10)], input_shape=(8, 8, 1), seed=0)
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.fit(*training, loss=loss, optimizer=fl.optimizers.Adam(3e-3), epochs=8)

    x = test[0].reshape(len(test[0]), -1)
    z = cell(x)
    residual = np.abs(np.tanh(z @ cell.W.value + x @ cell.U.value + cell.b.value) - z).max()
    print(f"largest distance from the fixed point {residual:.1e}, norm of W {np.linalg.norm(cell.W.value, 2):.2f}")
    accuracy = model.evaluate(*test, loss)["accuracy"]
    print(f"held-out accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
