"""Builds small Keras models and what Keras computes with them.

    python keras_oracle.py DIRECTORY             all cases, by both generations of Keras
    python keras_oracle.py --fixtures DIRECTORY  the few that are part of the project

Writes CASE.h5 and CASE.json, which holds

    {"input_shape": [...], "input": [...], "features_shape": [...], "features": [...], "exit": [...]}

flat and row-major, `features` null where the model has one output. Needs `tensorflow` (which brings
Keras 3) and, for files as Keras 2 writes them, `tf_keras`. Weights and inputs are random, from a
fixed seed; cases that this machine's TensorFlow cannot compute are named and left out.
"""

import json
import os
import random
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

SAMPLES = 5
# Of both generations; what one of them does not know is left out for it.
ACTIVATIONS = [
    "linear", "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "swish", "mish",
    "softplus", "softsign", "squareplus", "softmax", "log_softmax", "sigmoid", "log_sigmoid",
    "hard_sigmoid", "hard_silu", "hard_swish", "tanh", "hard_tanh", "tanh_shrink", "exponential",
]


def cases(keras):
    """Yields (name, input shape, function from the input tensor to the features)."""
    layers = keras.layers
    for activation in ACTIVATIONS:
        yield f"dense-{activation}", (6,), lambda x, a=activation: layers.Dense(8, activation=a)(x)
        yield f"conv-{activation}", (5, 4, 2), lambda x, a=activation: layers.Conv2D(
            3, 2, activation=a)(x)
        yield f"activation-{activation}", (7, 3), lambda x, a=activation: layers.Activation(a)(
            layers.Dense(5)(x))
    for at, options in enumerate([
        {}, {"max_value": 6.0}, {"max_value": 1.5, "negative_slope": 0.1}, {"threshold": 0.5},
        {"negative_slope": 0.25}, {"max_value": 2.0, "negative_slope": 0.3, "threshold": 0.7},
        {"threshold": -0.5}, {"threshold": 0.4, "max_value": 1.0},
    ]):
        yield f"relu-{at}", (9,), lambda x, o=options: layers.ReLU(**o)(layers.Dense(12)(x))
    yield "leaky-relu", (9,), lambda x: layers.LeakyReLU(0.07)(layers.Dense(12)(x))
    yield "leaky-relu-default", (9,), lambda x: layers.LeakyReLU()(layers.Dense(12)(x))
    yield "elu", (9,), lambda x: layers.ELU(0.7)(layers.Dense(12)(x))
    yield "layer-as-activation", (9,), lambda x: layers.Dense(6, activation=layers.ReLU(0.8))(x)
    for axis in [-1, 1, 2, 3]:
        yield f"softmax-{axis}", (3, 4, 5), lambda x, a=axis: layers.Softmax(axis=a)(x)

    for at, options in enumerate([
        {"kernel_size": 3}, {"kernel_size": (5, 2), "padding": "same"},
        {"kernel_size": 1, "use_bias": False}, {"kernel_size": 3, "strides": 2},
        {"kernel_size": 3, "strides": 2, "padding": "same"},
        {"kernel_size": (2, 4), "strides": (3, 1), "padding": "same"},
        {"kernel_size": 3, "dilation_rate": 2},
        {"kernel_size": (2, 3), "dilation_rate": (3, 2), "padding": "same"},
        {"kernel_size": 3, "groups": 2, "padding": "same"}, {"kernel_size": 2, "groups": 4},
        {"kernel_size": 2, "strides": 5, "padding": "same"},
    ]):
        for shape in [(9, 8, 4), (8, 11, 4)]:
            yield f"conv-{at}-{shape[0]}x{shape[1]}", shape, lambda x, o=options: layers.Conv2D(
                8, **o)(x)
    for at, options in enumerate([
        {"kernel_size": 3}, {"kernel_size": (2, 5), "padding": "same", "depth_multiplier": 3},
        {"kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"},
        {"kernel_size": 2, "dilation_rate": 2, "use_bias": False},
        {"kernel_size": 3, "depth_multiplier": 2, "strides": 2},
    ]):
        yield f"depthwise-{at}", (9, 8, 3), lambda x, o=options: layers.DepthwiseConv2D(**o)(x)
        yield f"separable-{at}", (9, 8, 3), lambda x, o=options: layers.SeparableConv2D(5, **o)(x)

    for kind in ["MaxPooling2D", "AveragePooling2D"]:
        for at, options in enumerate([
            {}, {"pool_size": 3}, {"pool_size": 3, "strides": 2, "padding": "same"},
            {"pool_size": (2, 3), "strides": 1}, {"pool_size": (4, 1), "padding": "same"},
            {"pool_size": 2, "strides": (1, 3), "padding": "same"},
        ]):
            yield f"{kind}-{at}", (7, 8, 3), lambda x, k=kind, o=options: getattr(layers, k)(**o)(x)
    for kind in ["GlobalAveragePooling2D", "GlobalMaxPooling2D"]:
        for keep in [False, True]:
            yield f"{kind}-{keep}", (5, 4, 3), lambda x, k=kind, p=keep: getattr(layers, k)(
                keepdims=p)(x)

    for at, (shape, options) in enumerate([
        ((6,), {}), ((5, 4, 3), {}), ((5, 4, 3), {"axis": 1}), ((5, 4, 3), {"axis": 2}),
        ((7, 3), {"center": False}), ((6,), {"scale": False, "epsilon": 0.1}),
    ]):
        yield f"batch-normalization-{at}", shape, lambda x, o=options: layers.BatchNormalization(
            **o)(x)
    yield "rescaling", (5, 3), lambda x: layers.Rescaling(1 / 7.0, offset=-0.5)(x)

    yield "flatten", (4, 3, 2), lambda x: layers.Flatten()(x)
    yield "reshape", (4, 3, 2), lambda x: layers.Reshape((6, 4))(x)
    yield "reshape-open", (4, 3, 2), lambda x: layers.Reshape((2, -1, 3))(x)
    yield "image-without-channels", (6, 5), lambda x: layers.Conv2D(3, 2)(
        layers.Reshape((6, 5, 1))(x))
    yield "permute", (4, 3, 2), lambda x: layers.Permute((3, 1, 2))(x)
    for at, padding in enumerate([1, (2, 1), ((0, 1), (2, 3))]):
        yield f"zero-padding-{at}", (4, 3, 2), lambda x, p=padding: layers.ZeroPadding2D(p)(x)
    yield "dense-on-images", (4, 3, 2), lambda x: layers.Dense(7, activation="tanh")(x)
    yield "dense-without-bias", (4,), lambda x: layers.Dense(7, use_bias=False)(x)
    for kind in ["Dropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"]:
        yield f"training-only-{kind}", (4, 3, 2), lambda x, k=kind: getattr(layers, k)(0.3)(x)

    for kind in ["Add", "Multiply", "Average", "Maximum", "Minimum", "Subtract"]:
        def merged(x, kind=kind):
            branches = [layers.Dense(6)(x), layers.Dense(6, activation="relu")(x)]
            if kind != "Subtract":
                branches.append(layers.Dense(6)(x))
            return getattr(layers, kind)()(branches)
        yield f"merge-{kind}", (5,), merged
    for axis in [-1, 1, 2, 3]:
        yield f"concatenate-{axis}", (4, 3, 2), lambda x, a=axis: layers.Concatenate(axis=a)(
            [x, layers.Dense(2)(x), x])
    yield "residual", (6, 6, 4), lambda x: layers.Add()(
        [x, layers.Conv2D(4, 3, padding="same", activation="relu")(x)])

    def shared(x):
        layer = layers.Dense(6, activation="tanh")
        return layers.Add()([layer(layer(x)), layer(x)])
    yield "a-layer-called-three-times", (6,), shared

    def channels_first(x):
        x = layers.Conv2D(4, 3, padding="same", data_format="channels_first")(x)
        x = layers.MaxPooling2D(2, data_format="channels_first")(x)
        return layers.Flatten(data_format="channels_first")(x)
    yield "channels-first", (2, 6, 8), channels_first
    yield "channels-first-flatten", (2, 6, 8), lambda x: layers.Flatten(
        data_format="channels_first")(x)
    yield "channels-first-global", (2, 6, 8), lambda x: layers.GlobalAveragePooling2D(
        data_format="channels_first")(x)

    for seed in range(40):
        yield f"random-{seed}", (10, 9, 2), lambda x, s=seed: random_stack(keras, s, x)


def random_stack(keras, seed, x):
    """A few image layers in random order and with random options."""
    layers = keras.layers
    choose = random.Random(seed)
    padding = lambda: choose.choice(["same", "valid"])
    relu = lambda: choose.choice(["relu", "tanh", "elu", None])
    for _ in range(choose.randint(2, 6)):
        kinds = [
            lambda x: layers.Conv2D(choose.randint(1, 6), choose.randint(1, 3),
                                    strides=choose.randint(1, 2), padding="same",
                                    activation=relu())(x),
            lambda x: layers.DepthwiseConv2D(choose.randint(1, 3), padding="same",
                                             depth_multiplier=choose.randint(1, 2),
                                             activation=relu())(x),
            lambda x: layers.BatchNormalization()(x),
            lambda x: layers.MaxPooling2D(2, strides=1, padding=padding())(x),
            lambda x: layers.AveragePooling2D(2, strides=choose.randint(1, 2), padding="same")(x),
            lambda x: layers.Dropout(0.5)(x),
            lambda x: layers.ReLU(choose.choice([None, 1.0, 6.0]))(x),
            lambda x: layers.Concatenate()([x, layers.Dense(2)(x)]),
            lambda x: layers.Add()([x, layers.Conv2D(x.shape[-1], 3, padding="same")(x)]),
            lambda x: layers.ZeroPadding2D(1)(x),
        ]
        x = choose.choice(kinds)(x)
    return x


def functional(keras, shape, features):
    """A model with two outputs: to the next tier, and exit."""
    x = keras.Input(shape)
    middle = features(x)
    flat = middle if len(middle.shape) == 2 else keras.layers.Flatten()(middle)
    return keras.Model(x, [middle, keras.layers.Dense(4, activation="softmax")(flat)])


def sequentials(keras):
    """Yields (name, input shape, model)."""
    layers = keras.layers
    tail = lambda: [layers.Flatten(), layers.Dropout(0.2), layers.Dense(5, activation="relu"),
                    layers.Dense(4, activation="softmax")]
    yield "sequential", (4, 3), keras.Sequential([keras.Input((4, 3))] + tail())
    built = keras.Sequential(tail())
    built.build((None, 4, 3))
    yield "sequential-built", (4, 3), built
    logits = [layers.Flatten(), layers.Dense(4), layers.Softmax()]
    yield "sequential-softmax-layer", (4, 3), keras.Sequential([keras.Input((4, 3))] + logits)
    compiled = keras.Sequential([keras.Input((4, 3))] + tail())
    compiled.compile("adam", "sparse_categorical_crossentropy")
    compiled.fit(np.zeros((8, 4, 3)), np.zeros(8), verbose=0)
    yield "sequential-trained", (4, 3), compiled


def nested(keras):
    """Yields (name, input shape, model): models as layers of models."""
    layers = keras.layers
    convolutions = lambda: keras.Sequential([
        keras.Input((5, 4, 2)), layers.Conv2D(3, 2, activation="relu"), layers.BatchNormalization(),
        layers.Conv2D(2, 2)], name="base")
    yield "nested-sequential", (5, 4, 2), keras.Sequential([
        convolutions(), layers.Flatten(), layers.Dense(5, activation="relu"), layers.Dense(4, activation="softmax")])

    inner = keras.Input((6,))
    residual = keras.Model(inner, layers.Add()([inner, layers.Dense(6, activation="tanh")(inner)]), name="residual")
    x = keras.Input((6,))
    middle = residual(layers.Dense(6)(residual(x)))
    yield "nested-shared", (6,), keras.Model(x, [middle, layers.Dense(4, activation="softmax")(middle)])

    outer = keras.Sequential([keras.Input((5, 4, 2)), convolutions(), layers.Flatten(), layers.Dense(3)], name="outer")
    x = keras.Input((5, 4, 2))
    middle = layers.Dense(5, activation="relu")(outer(x))
    yield "nested-twice", (5, 4, 2), keras.Model(x, [middle, layers.Dense(4, activation="softmax")(middle)])
    x = keras.Input((6,))
    yield "from-logits", (6,), keras.Model(x, layers.Dense(4)(layers.Dense(5, activation="relu")(x)))


def fixtures(keras):
    """Yields (name, input shape, model): much of the above in few files."""
    layers = keras.layers
    # Of Keras 2 those that it defines in its own way, or under another name.
    is_keras_2 = keras.__version__.startswith("2")
    names = ["hard_sigmoid", "swish", "relu6"] if is_keras_2 else ACTIVATIONS

    def dense(x):
        x = layers.Dense(3)(x)
        parts = [layers.Activation(name)(x) for name in names]
        return layers.Concatenate()(parts + [layers.ReLU(2.0, 0.3, 0.7)(x)])
    yield "dense", (4,), functional(keras, (4,), dense)

    def image(x):
        x = layers.Reshape((8, 7, 1))(x)
        x = layers.Conv2D(4, (3, 2), strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="elu")(x)
        y = layers.Conv2D(4, 1, groups=2)(y)
        x = layers.Dropout(0.1)(layers.Add()([x, y]))
        x = layers.Concatenate()([layers.MaxPooling2D(2)(x), layers.AveragePooling2D(2)(x)])
        return layers.Conv2D(3, 2, dilation_rate=1, padding="same", activation="relu")(x)
    yield "image", (8, 7), functional(keras, (8, 7), image)

    pooled = keras.Sequential([
        keras.Input((6, 5, 2)), layers.ZeroPadding2D(((1, 0), (0, 2))),
        layers.Conv2D(3, 3, activation="relu"), layers.GlobalAveragePooling2D(),
        layers.Dense(4), layers.Softmax(),
    ])
    yield "sequential", (6, 5, 2), pooled


def randomise(model, generator):
    """Weights that exercise every layer: biases are not 0 and variances are not 1."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            randomise(layer, generator)
            continue
        weights = []
        for variable, values in zip(layer.weights, layer.get_weights()):
            if "variance" in variable.name:
                weights.append(generator.uniform(0.3, 2.0, values.shape))
            else:
                fan = max(1, int(np.prod(values.shape[:-1])))
                spread = 1.0 if values.ndim == 1 else 1.5 / fan ** 0.5
                weights.append(generator.normal(0.0, spread, values.shape))
        layer.set_weights(weights)


def write(directory, name, shape, model, generator):
    randomise(model, generator)
    values = generator.normal(0.0, 1.5, (SAMPLES, *shape)).astype(np.float32)
    outputs = model(values, training=False)
    outputs = [np.array(output) for output in (outputs if isinstance(outputs, list) else [outputs])]
    features = outputs[0] if len(outputs) == 2 else None
    flat = lambda array: [round(float(value), 8) for value in array.ravel()]
    if "from-logits" in name:
        exponentials = np.exp(outputs[-1] - outputs[-1].max(axis=-1, keepdims=True))
        outputs[-1] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    model.save(os.path.join(directory, name + ".h5"))
    if name.startswith("keras3"):
        model.save(os.path.join(directory, name + ".keras"))
    with open(os.path.join(directory, name + ".json"), "w", encoding="utf-8") as file:
        json.dump({
            "input_shape": list(shape),
            "input": flat(values),
            "features_shape": None if features is None else list(features.shape[1:]),
            "features": None if features is None else flat(features),
            "exit": flat(outputs[-1]),
        }, file)
        file.write("\n")


def generations():
    import keras
    yield "keras3", keras
    try:
        import tf_keras
        yield "keras2", tf_keras
    except ImportError:
        print("tf_keras is not installed: no files of Keras 2")


def main():
    arguments = sys.argv[1:]
    only_fixtures = arguments[0] == "--fixtures"
    directory = arguments[-1]
    os.makedirs(directory, exist_ok=True)
    written = 0
    for generation, keras in generations():
        keras.utils.set_random_seed(1)
        generator = np.random.default_rng(1)
        models = list(fixtures(keras)) if only_fixtures else [*sequentials(keras), *nested(keras)]
        for name, shape, model in models:
            write(directory, f"{generation}-{name}", shape, model, generator)
            written += 1
        for name, shape, features in [] if only_fixtures else cases(keras):
            try:
                model = functional(keras, shape, features)
                write(directory, f"{generation}-{name}", shape, model, generator)
                written += 1
            except Exception as error:  # Whatever this Keras does not know.
                print(f"{generation}-{name} left out: {str(error).strip().splitlines()[0][:100]}")
    print(f"{written} cases in {directory}")


if __name__ == "__main__":
    main()
