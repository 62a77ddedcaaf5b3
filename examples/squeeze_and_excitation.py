"""Squeeze-and-excitation: a gate for each channel, computed from the whole image.

    s = mean over H, W of x             squeeze      x (N, H, W, C) -> s (N, C)
    e = σ(relu(s·W₁ + b₁)·W₂ + b₂)      excite       e (N, C), through C / ratio units
    y = x·e                             scale        y (N, H, W, C)

Hu, Shen and Sun, "Squeeze-and-excitation networks", CVPR 2018.

Backward. x goes into y on two ways: directly, and through s and e.

    y = x·e         gives dx = dy·e, and de = Σ over H, W of dy·x, because one e serves all pixels
    e = f(s)        gives ds = de · ∂f/∂s: backward of the two dense layers, which know it
    s = mean(x)     adds ds / (H·W) to dx at every pixel
"""

import fastlayers as fl


class SqueezeAndExcitation(fl.Layer, registered_name="examples.SqueezeAndExcitation"):
    """y = x · gate(mean of x over the image)      x (N, H, W, C) -> y (N, H, W, C)"""

    def __init__(self, ratio=4, **options):
        super().__init__(**options)
        self.ratio = ratio

    def build(self, input_shape):
        channels = input_shape[-1]
        self.gate = fl.Sequential(
            [fl.Dense(max(1, channels // self.ratio), "relu"), fl.Dense(channels, "sigmoid")], input_shape=(channels,)
        )

    def compute_output_shape(self, input_shape):
        return input_shape

    def forward(self, x, training=False):
        s = x.mean(axis=(1, 2))
        e, gate_cache = self.gate.forward(s, training)
        e = e[:, None, None]
        return x * e, (x, e, gate_cache)

    def backward(self, dy, cache):
        x, e, gate_cache = cache
        de = (dy * x).sum(axis=(1, 2))
        ds = self.gate.backward(de, gate_cache)
        pixels = x.shape[1] * x.shape[2]
        return dy * e + ds[:, None, None] / pixels


def main():
    """Check the layer, train with it -> accuracy on digits the model has not seen."""
    print(fl.check_layer(SqueezeAndExcitation(ratio=2), input_shape=(5, 3, 4)))

    training, test = fl.datasets.load_digits()
    features = fl.Sequential(
        [
            fl.Conv2D(16, 3, padding="same", activation="relu"),
            fl.MaxPooling2D(2),
            fl.Conv2D(32, 3, padding="same", activation="relu"),
        ]
    )
    excite = SqueezeAndExcitation()
    model = fl.Sequential([features, excite, fl.Flatten(), fl.Dense(10)], input_shape=(8, 8, 1), seed=0)
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.fit(*training, loss=loss, optimizer=fl.optimizers.Adam(5e-3), epochs=8)

    gates = excite.gate(features(test[0]).mean(axis=(1, 2))).mean(axis=0)
    print(f"gates, about 0.5 at first: {(gates < 0.2).sum()} channels below 0.2, {(gates > 0.8).sum()} above 0.8")
    accuracy = model.evaluate(*test, loss)["accuracy"]
    print(f"held-out accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
