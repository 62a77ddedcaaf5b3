"""A layer with random numbers of its own: Gaussian dropout, noise that multiplies.

    y = x·n,  n ~ N(1, stddev²)      in training, n drawn anew for each entry and call      x (N, …) -> y (N, …)
    y = x                            in inference: the mean of n is 1

Srivastava et al., "Dropout", JMLR 15, 2014, section 10.

Backward. Once drawn, n is a constant of this call, so dx = dy·n; the cache is n.

The numbers come from a stream that the layer takes in `build`. Each forward asks it for a generator that no
other call has, so two threads never share one; the layer's `seed`, or that of the model around it, decides
them all; and a stream is no weight, so nothing of it is in a saved file.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

import fastlayers as fl


class GaussianDropout(fl.Layer, registered_name="examples.GaussianDropout"):
    """y = x·n, n ~ N(1, stddev²), in training; y = x in inference      x (N, …) -> y (N, …)"""

    def __init__(self, stddev, seed=None, **options):
        super().__init__(**options)
        if not stddev >= 0:
            raise ValueError(f"{self.name} expects stddev >= 0, got {stddev!r}")
        self.stddev, self.seed = stddev, seed

    def build(self, input_shape):
        self.random = self.add_random_stream(self.seed)

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        if not training:
            return x, None
        n = self.random.generator().normal(1, self.stddev, x.shape).astype(x.dtype)
        return x * n, n

    def backward(self, dy, cache):
        return dy if cache is None else dy * cache


def trained(stddev, training, loss):
    """A network for digits that was trained with this much noise."""
    model = fl.Sequential(
        [fl.Flatten(), fl.Dense(256, "relu"), GaussianDropout(stddev), fl.Dense(10)], input_shape=(8, 8, 1), seed=0
    )
    model.fit(*training, loss=loss, optimizer=fl.optimizers.Adam(3e-3), epochs=10)
    return model


def main():
    """Check the layer, train with and without noise, twice -> accuracy on digits the model has not seen."""
    print(fl.check_layer(GaussianDropout(0.5), input_shape=(5, 3)))

    training, test = fl.datasets.load_digits()
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    for stddev in (0.0, 1.0):
        model = trained(stddev, training, loss)
        accuracy = model.evaluate(*test, loss)["accuracy"]
        model.layers[2].stddev = 2.0
        disturbed, _ = model.forward(test[0], training=True)
        print(
            f"trained with stddev {stddev}: held-out accuracy {accuracy:.1%}, "
            f"with a noise of stddev 2 {np.mean(disturbed.argmax(axis=1) == test[1]):.1%}"
        )

    again = trained(1.0, training, loss)
    same = all(np.array_equal(a.value, b.value) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    print("trained again, the same to the bit:", same)

    layer, ones = GaussianDropout(1.0, seed=0), np.ones((4, 256), "f4")
    with ThreadPoolExecutor(4) as threads:
        draws = list(threads.map(lambda _: layer.forward(ones, training=True)[0].tobytes(), range(100)))
    print("100 calls from 4 threads, different draws:", len(set(draws)))
    return accuracy


if __name__ == "__main__":
    main()
