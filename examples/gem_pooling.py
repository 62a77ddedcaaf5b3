"""A learned pooling: generalised-mean (GeM), between the average (p = 1) and the maximum (p → ∞).

    m = mean over H, W of x^p        x (N, H, W, C), p (C,) -> y (N, C)
    y = m^(1/p)

with x cut off below at 10⁻³, for a root needs positive numbers; one p for each channel.
Radenović, Tolias and Chum, "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2019.

Backward. With n = H·W pixels, log y = (log m)/p, so dy/y = dm/(p·m) - (log m)/p² dp.

    ∂m/∂x_i = p·x_i^(p-1)/n          ∂m/∂p = (1/n)·Σ x_i^p·log x_i

    dx_i = dy · (y/m)·x_i^(p-1)/n    0 where x was cut off
    dp   = Σ over N of dy · (y/p) · ((1/(n·m))·Σ_i x_i^p·log x_i - log y)
"""

import numpy as np

import fastlayers as fl

SMALLEST = 1e-3


class GeMPooling(fl.Layer, registered_name="examples.GeMPooling"):
    """y = (mean of x^p over the image)^(1/p)      x (N, H, W, C), p (C,) -> y (N, C)"""

    def build(self, input_shape):
        self.p = self.add_weight("p", (input_shape[-1],), initializer=fl.initializers.Constant(3.0))

    def compute_output_shape(self, input_shape):
        return (input_shape[-1],)

    def forward(self, x, training=False):
        powers = np.maximum(x, SMALLEST) ** self.p.value
        m = powers.mean(axis=(1, 2))
        y = m ** (1 / self.p.value)
        return y, (x, powers, m, y)

    def backward(self, dy, cache):
        x, powers, m, y = cache
        p, n = self.p.value, x.shape[1] * x.shape[2]
        cut = np.maximum(x, SMALLEST)
        weighted_log = (powers * np.log(cut)).sum(axis=(1, 2)) / (n * m)
        self.p.add_gradient((dy * y / p * (weighted_log - np.log(y))).sum(axis=0))
        return np.where(x > SMALLEST, (dy * y / (n * m))[:, None, None] * (powers / cut), 0)


def network(pooling):
    """A network for digits that sees its whole image through one pooling layer."""
    return fl.Sequential(
        [
            fl.Conv2D(32, 3, padding="same", activation="relu"),
            fl.Conv2D(32, 3, padding="same", activation="relu"),
            pooling,
            fl.Dense(10),
        ],
        input_shape=(8, 8, 1),
        seed=0,
    )


def main():
    """Check the layer, compare it with average and maximum -> its accuracy on digits it has not seen."""
    print(fl.check_layer(GeMPooling(), input_shape=(5, 4, 3)))

    training, test = fl.datasets.load_digits()
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    gem = GeMPooling()
    for pooling in (fl.GlobalAveragePooling2D(), fl.GlobalMaxPooling2D(), gem):
        model = network(pooling)
        model.fit(*training, loss=loss, optimizer=fl.optimizers.Adam(5e-3), epochs=8)
        accuracy = model.evaluate(*test, loss)["accuracy"]
        print(f"{type(pooling).__name__:<22} held-out accuracy {accuracy:.1%}")
    print(f"p, 3 at first, is now {gem.p.value.min():.2f} to {gem.p.value.max():.2f}")
    return accuracy


if __name__ == "__main__":
    main()
