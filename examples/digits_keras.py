"""Distil the kernel of a Keras 3 network with the JAX backend."""

import importlib.util
import os
import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dntk

NEEDED = ("jax", "keras")


def main() -> None:
    """Train with Keras, make a model of its stateless call, distil, compare."""
    os.environ["KERAS_BACKEND"] = "jax"  # Keras reads it as it is imported
    import jax
    import keras

    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(x, labels, train_size=1000, random_state=0)

    keras.utils.set_random_seed(0)
    layers = (keras.Input((64,)), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(10))
    net = keras.Sequential(layers)
    net.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    net.fit(x, y, epochs=20, verbose=0)

    # By path, since JAX sorts the keys of a dict; copied, since Keras gives its arrays away as it trains and predicts.
    params = {variable.path: jax.numpy.array(variable.value) for variable in net.trainable_variables}
    state = [jax.numpy.array(variable.value) for variable in net.non_trainable_variables]

    def call(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        return net.stateless_call([params[v.path] for v in net.trainable_variables], state, x)[0]

    model = dntk.as_model(call, params)
    x, x_test = jax.numpy.asarray(x), jax.numpy.asarray(x_test)
    fit = dntk.DistilledNTK(model, data=dntk.distill.data.KMeans(200)).fit(x)
    accuracy = float(np.mean(np.argmax(np.asarray(model(x_test)), axis=1) == y_test))
    print(f"network: {model.n_parameters} parameters, accuracy {accuracy:.3f}")
    print(f"kernel regression on 200 points: {fit.fidelity(x_test):.1%} as the network")
    print(fit.losses)


if __name__ == "__main__":
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: this example needs {', '.join(missing)}: pip install {' '.join(missing)}")
        sys.exit()
    main()
