"""A layer with two inputs: FiLM, where a condition scales and shifts features.

    y = x·(1 + c·G) + c·B      x (N, H, W, C), c (N, K), G and B (K, C) -> y (N, H, W, C)

Perez, Strub, de Vries, Dumoulin and Courville, "FiLM: visual reasoning with a general conditioning layer",
AAAI 2018. Here c asks a question about an image, "is this a 3?", as a one-hot vector; without it, nobody could
tell which answer is wanted.

Backward. Let gamma = 1 + c·G and beta = c·B, each (N, C) and the same for all pixels. Then

    dx = dy·gamma      dgamma = Σ over H, W of dy·x      dbeta = Σ over H, W of dy

    dG = cᵀ·dgamma     dB = cᵀ·dbeta                     dc = dgamma·Gᵀ + dbeta·Bᵀ

Two inputs are a tuple (x, c), and so are their gradients.
"""

import numpy as np

import fastlayers as fl


class FiLM(fl.Layer, registered_name="examples.FiLM"):
    """y = x·(1 + c·G) + c·B      x (N, H, W, C), c (N, K) -> y (N, H, W, C)"""

    n_inputs = 2

    def build(self, input_shape):
        (_, _, channels), (conditions,) = input_shape
        self.G = self.add_weight("scale", (conditions, channels))
        self.B = self.add_weight("shift", (conditions, channels))

    def compute_output_shape(self, input_shape):
        x_shape, _ = input_shape
        return x_shape

    def forward(self, x, training=False):
        x, c = x
        gamma, beta = 1 + c @ self.G.value, c @ self.B.value
        return x * gamma[:, None, None] + beta[:, None, None], (x, c, gamma)

    def backward(self, dy, cache):
        x, c, gamma = cache
        dgamma, dbeta = (dy * x).sum(axis=(1, 2)), dy.sum(axis=(1, 2))
        self.G.add_gradient(c.T @ dgamma)
        self.B.add_gradient(c.T @ dbeta)
        return dy * gamma[:, None, None], dgamma @ self.G.value.T + dbeta @ self.B.value.T


def questions(images, labels, rng):
    """((image, digit asked for), answer): for each image one question whose answer is yes, and one that is no."""
    others = (labels + rng.integers(1, 10, len(labels))) % 10
    asked = np.eye(10, dtype="f4")[np.concatenate([labels, others])]
    answers = np.repeat([1, 0], len(labels))
    return (np.concatenate([images, images]), asked), answers


def main():
    """Check the layer, train a graph with it -> the share of right answers on digits it has not seen."""
    print(fl.check_layer(FiLM(), input_shape=((4, 3, 5), (2,))))

    image, asked = fl.Input((8, 8, 1)), fl.Input((10,))
    features = fl.Conv2D(24, 3, padding="same", activation="relu")(image)
    features = fl.MaxPooling2D(2)(fl.Conv2D(24, 3, padding="same")(features))
    conditioned = fl.ReLU()(FiLM()((features, asked)))
    model = fl.Model((image, asked), fl.Dense(2)(fl.Flatten()(conditioned)), seed=0)

    rng = np.random.default_rng(0)
    training, test = (questions(*part, rng) for part in fl.datasets.load_digits())
    loss = fl.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.fit(*training, loss=loss, optimizer=fl.optimizers.Adam(3e-3), epochs=8)
    accuracy = model.evaluate(*test, loss)["accuracy"]
    print(f"held-out accuracy {accuracy:.1%} of {len(test[1])} questions")

    (images, _), (_, labels) = test[0], fl.datasets.load_digits()[1]
    answers = model((np.repeat(images[:1], 10, axis=0), np.eye(10, dtype="f4"))).argmax(axis=1)
    print(f"a {labels[0]}, asked whether it is a 0 … 9:", " ".join("ny"[answer] for answer in answers))
    return accuracy


if __name__ == "__main__":
    main()
