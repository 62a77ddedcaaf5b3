"""A block of layers is itself a layer: the depthwise-separable convolution.

    h = relu(depthwise(x))      3×3, each channel with a filter of its own
    y = relu(pointwise(h))      1×1, mixes the channels           x (N, H, W, C) -> y (N, H, W, filters)

Howard et al., "MobileNets", arXiv:1704.04861, 2017, here without batch normalisation. It has 9·C + C·filters
weights where a full 3×3 convolution has 9·C·filters.

Backward. A block has no derivation of its own, only the chain rule: with h = f(x) and y = g(h),

    dx = (dy · ∂g/∂h) · ∂f/∂x

so each layer's backward gets what the one above it returned, in the reverse order of forward, and every layer
adds its own weight gradients on the way. The cache of the block is the caches of its layers.
"""

import fastlayers as fl


class DepthwiseSeparable(fl.Layer, registered_name="examples.DepthwiseSeparable"):
    """y = relu(pointwise(relu(depthwise(x))))      x (N, H, W, C) -> y (N, H, W, filters)"""

    def __init__(self, filters, **options):
        super().__init__(**options)
        self.pointwise = fl.Conv2D(filters, 1, activation="relu")

    def build(self, input_shape):
        channels = input_shape[-1]  # known only here, so this layer is made here
        self.depthwise = fl.Conv2D(channels, 3, padding="same", groups=channels, activation="relu")
        self.depthwise.build(input_shape)
        self.pointwise.build(input_shape)

    def compute_output_shape(self, input_shape):
        return self.pointwise.compute_output_shape(input_shape)

    def forward(self, x, training=False):
        h, depthwise_cache = self.depthwise.forward(x, training)
        y, pointwise_cache = self.pointwise.forward(h, training)
        return y, (depthwise_cache, pointwise_cache)

    def backward(self, dy, cache):
        depthwise_cache, pointwise_cache = cache
        dh = self.pointwise.backward(dy, pointwise_cache)
        return self.depthwise.backward(dh, depthwise_cache)


def network(block):
    """A network for digits, with a layer of 32 filters in its middle."""
    return fl.Sequential(
        [
            fl.Conv2D(16, 3, padding="same", activation="relu"),
            block,
            fl.MaxPooling2D(2),
            fl.Flatten(),
            fl.Dense(10),
        ],
        input_shape=(8, 8, 1),
        seed=0,
    )


def main():
    """Check the block, compare it with a full convolution -> its accuracy on digits it has not seen."""
    print(fl.check_layer(DepthwiseSeparable(5), input_shape=(6, 4, 3)))

    training, test = fl.datasets.load_digits()
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    blocks = {
        "full 3×3 convolution": fl.Conv2D(32, 3, padding="same", activation="relu"),
        "depthwise separable": DepthwiseSeparable(32),
    }
    for name, block in blocks.items():
        model = network(block)
        model.fit(*training, loss=loss, optimizer=fl.optimizers.Adam(3e-3), epochs=6)
        accuracy = model.evaluate(*test, loss)["accuracy"]
        weights = sum(parameter.size for parameter in block.parameters())
        print(f"{name:<21} {weights:>6,} weights, held-out accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
