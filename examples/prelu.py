"""A parametric activation: PReLU, whose negative slope is learned.

    y = x         where x > 0         x (N, …, C), alpha (C,) -> y (N, …, C)
    y = alpha·x   elsewhere

He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015, with their first value alpha = 0.25.

Backward. Each y depends on one x, so dx is dy times a slope. One alpha serves every example and pixel of its
channel, so its gradient is a sum over all of them:

    dx = dy           where x > 0           dalpha_c = Σ dy·x over the entries of channel c where x <= 0
    dx = alpha·dy     elsewhere
"""

import numpy as np

import fastlayers as fl


class PReLU(fl.Layer, registered_name="examples.PReLU"):
    """y = x where x > 0, else alpha·x      x (N, …, C), alpha (C,) -> y (N, …, C)"""

    def build(self, input_shape):
        self.alpha = self.add_weight("alpha", (input_shape[-1],), initializer=fl.initializers.Constant(0.25))

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        return np.where(x > 0, x, self.alpha.value * x), x

    def backward(self, dy, cache):
        x = cache
        negative = np.where(x > 0, 0, x * dy)
        self.alpha.add_gradient(negative.reshape(-1, x.shape[-1]).sum(axis=0))
        return np.where(x > 0, dy, self.alpha.value * dy)


def main():
    """Check the layer, train with it -> accuracy on digits the model has not seen."""
    print(fl.check_layer(PReLU(), input_shape=(5, 4, 3)))

    training, test = fl.datasets.load_digits()
    prelu = PReLU()
    model = fl.Sequential(
        [fl.Conv2D(8, 3, padding="same"), prelu, fl.MaxPooling2D(2), fl.Flatten(), fl.Dense(10)],
        input_shape=(8, 8, 1),
        seed=0,
    )
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.fit(*training, loss=loss, optimizer=fl.optimizers.Adam(5e-3), epochs=8)
    print("slopes, 0.25 at first:", np.round(prelu.alpha.value, 2))
    accuracy = model.evaluate(*test, loss)["accuracy"]
    print(f"held-out accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
