"""Writes ONNX networks as other programs write them, and what ONNX Runtime gives for each.

    python onnx_oracle.py [--fixtures] DIRECTORY

Each case is a NAME.onnx, perhaps with weights beside it, and a NAME.json with inputs and outputs. Of two outputs the
first is features, the last is the exit: a softmax, or logits, of which the softmax is expected. A case with "cuts" and
"exits" is for splitting, and has the exits' values in "outputs". Needs `onnx` and `onnxruntime`; with `tf2onnx` and
`tensorflow` also what those write. Weights and inputs are random, from a fixed seed.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SAMPLES = 3
GENERATOR = np.random.default_rng(1)


class Net:
    """A graph under construction."""

    def __init__(self, shape, opset=13, batch="batch"):
        self.shape, self.opset, self.batch = shape, opset, batch
        self.nodes, self.weights, self.count = [], [], 0
        self.outputs, self.cuts = [], []

    def name(self, kind):
        self.count += 1
        return f"/{kind.lower()}/{kind}_{self.count}_output_0"  # As torch.onnx.export calls them.

    def add(self, kind, *inputs, outputs=1, **attributes):
        made = [self.name(kind) for _ in range(outputs)]
        domain = attributes.pop("domain", "")
        self.nodes.append(helper.make_node(kind, list(inputs), made, domain=domain, **attributes))
        return made[0] if outputs == 1 else made

    def constant(self, values, dtype=np.float32, as_node=False):
        array = np.asarray(values, dtype)
        if as_node:
            return self.add("Constant", value=numpy_helper.from_array(array))
        name = f"constant_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def random(self, *shape, as_node=False):
        fan = max(1, int(np.prod(shape[1:])))
        return self.constant(GENERATOR.normal(0.0, 1.3 / fan ** 0.5, shape), as_node=as_node)

    def conv(self, x, channels, filters, size=3, **attributes):
        attributes.setdefault("pads", [size // 2] * 4)
        group = attributes.get("group", 1)
        kernel = self.random(filters, channels // group, size, size)
        return self.add("Conv", x, kernel, self.random(filters), kernel_shape=[size, size], **attributes)

    def norm(self, x, channels):
        values = [GENERATOR.uniform(0.5, 1.5, channels) for _ in range(4)]
        return self.add("BatchNormalization", x, *[self.constant(value) for value in values], epsilon=1e-3)

    def dense(self, x, inputs, units):
        return self.add("Gemm", x, self.random(units, inputs), self.random(units), transB=1)

    def axes(self, kind, x, axes, since, **attributes):
        """An operator whose axes were an attribute before operator set `since`."""
        if self.opset < since:
            return self.add(kind, x, axes=axes, **attributes)
        return self.add(kind, x, self.constant(axes, np.int64), **attributes)

    def flatten_by_shape(self, x, values):
        """`x.view(x.size(0), -1)` as torch.onnx.export writes it."""
        size = self.add("Gather", self.add("Shape", x), self.constant(0, np.int64, as_node=True), axis=0)
        size = self.axes("Unsqueeze", size, [0], 13)
        shape = self.add("Concat", size, self.constant([values], np.int64, as_node=True), axis=0)
        return self.add("Reshape", x, shape)

    def model(self, ir_version=8, weights_are_inputs=False):
        inputs = [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [self.batch, *self.shape])]
        if weights_are_inputs:
            inputs += [helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in self.weights]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(self.nodes, "main_graph", inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="pytorch", producer_version="2.9")
        model.ir_version = ir_version
        return model


def image(opset, batch="batch"):
    """A small convolutional network with features and logits, of what every operator set has."""
    net = Net((2, 8, 8), opset, batch)
    x = net.add("Relu", net.norm(net.conv("input.1", 2, 6), 6))
    x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = net.add("LeakyRelu", net.conv(x, 6, 6, group=3), alpha=0.1)
    x = net.add("Add", x, y)
    x = net.add("Concat", x, net.add("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4), axis=1)
    x = net.conv(x, 12, 4, size=1)
    features = net.add("Tanh", x)
    if opset < 11:
        x = net.add("Clip", features, min=-0.5, max=0.7)
    else:
        x = net.add("Clip", features, net.constant(-0.5), net.constant(0.7, as_node=True))
    x = net.add("Dropout", x) if opset >= 12 else net.add("Dropout", x, ratio=0.4)
    net.outputs = [features, net.dense(net.add("Flatten", x, axis=1), 64, 5)]
    return net


def ends(net, features, values, classes=4):
    """Features, and logits of them."""
    flat = net.flatten_by_shape(features, values)
    net.outputs = [features, net.dense(flat, values, classes)]
    return net


def cases():
    """Yields (name, Net, options of `write`)."""
    for opset in [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]:
        yield f"image-opset-{opset}", image(opset), {}
    yield "weights-as-inputs", image(8), {"ir_version": 3, "weights_are_inputs": True}
    yield "external-data", image(13), {"external": True}
    for at, batch in enumerate([1, 3, "N", "s77", "unk__5", "", None, "2*s0"]):
        yield f"batch-{at}", image(13, batch), {}
    for opset in [9, 13, 18]:
        net = Net((3, 4, 4), opset)
        yield f"view-{opset}", ends(net, net.add("Relu", net.conv("input.1", 3, 5)), 80), {}
    net = Net((2, 3, 4), 13, 1)
    flat = net.add("Reshape", net.add("Relu", "input.1"), net.constant([1, -1], np.int64))
    net.outputs = [net.dense(flat, 24, 4)]
    yield "reshape-of-one", net, {}
    net = Net((2, 3, 4), 13, 3)
    flat = net.add("Reshape", net.add("Relu", "input.1"), net.constant([3, 24], np.int64, as_node=True))
    net.outputs = [net.dense(flat, 24, 4)]
    yield "reshape-of-three", net, {}

    net = Net((6, 5, 2), 13)  # Channels last, as tf2onnx writes it.
    x = net.conv(net.add("Transpose", "input.1", perm=[0, 3, 1, 2]), 2, 4)
    yield "channels-last", ends(net, net.add("Transpose", x, perm=[0, 2, 3, 1]), 120), {}

    elementwise = [
        ("Elu", 13, {"alpha": 0.7}), ("Selu", 13, {}), ("Softplus", 13, {}), ("Softsign", 13, {}),
        ("HardSigmoid", 13, {"alpha": 0.3, "beta": 0.4}), ("HardSwish", 14, {}), ("Mish", 18, {}), ("Erf", 13, {}),
        ("Gelu", 20, {}), ("Gelu", 20, {"approximate": "tanh"}),
        ("ThresholdedRelu", 13, {"alpha": 0.5}), ("Sigmoid", 13, {}), ("Sin", 13, {}), ("Cos", 13, {}),
        ("Exp", 13, {}), ("Abs", 13, {}), ("Neg", 13, {}), ("Floor", 13, {}), ("Ceil", 13, {}), ("Round", 13, {}),
        ("Sign", 13, {}), ("Softmax", 13, {"axis": 2}), ("Softmax", 11, {"axis": 1}), ("Softmax", 11, {"axis": 3}),
        ("LogSoftmax", 13, {"axis": -1}), ("LpNormalization", 13, {"axis": 1, "p": 2}),
        ("LRN", 13, {"size": 3}), ("Identity", 13, {}),
    ]
    for at, (kind, opset, options) in enumerate(elementwise):
        net = Net((2, 3, 4), opset)
        yield f"elementwise-{at}-{kind}", ends(net, net.add(kind, net.conv("input.1", 2, 2), **options), 24), {}

    def gelu(net, x):  # The approximation, spelled out as TensorFlow's exporters do.
        cube = net.add("Mul", net.add("Mul", x, x), x)
        inner = net.add("Add", x, net.add("Mul", cube, net.constant(0.044715)))
        tanh = net.add("Tanh", net.add("Mul", inner, net.constant(0.7978845608)))
        return net.add("Mul", net.add("Mul", x, net.constant(0.5)), net.add("Add", tanh, net.constant(1.0)))

    def split(net, x):
        if net.opset < 13:
            parts = net.add("Split", x, outputs=2, axis=1, split=[1, 2])
        else:
            parts = net.add("Split", x, net.constant([1, 2], np.int64), outputs=2, axis=1)
        return net.add("Concat", parts[1], parts[0], axis=1)

    def slice_(net, x):
        if net.opset < 10:
            return net.add("Slice", x, starts=[1], ends=[9], axes=[2])
        bounds = [net.constant(value, np.int64) for value in ([1], [9], [2])]
        return net.add("Slice", x, *bounds)

    def pad(net, x):
        pads = [0, 0, 1, 0, 0, 0, 0, 2]
        if net.opset < 11:
            return net.add("Pad", x, mode="constant", pads=pads, value=0.3)
        return net.add("Pad", x, net.constant(pads, np.int64), net.constant(0.3), mode="constant")

    def resize(net, x):
        scales = net.constant([1.0, 1.0, 2.0, 2.0])
        return net.add("Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric",
                       nearest_mode="floor")

    def attention(net, x):  # Matrix products of activations with each other.
        x = net.add("Reshape", x, net.constant([0, 3, 20], np.int64))
        scores = net.add("MatMul", x, net.add("Transpose", x, perm=[0, 2, 1]))
        return net.add("MatMul", net.add("Softmax", scores, axis=-1), x)

    def squeezed(net, x):
        x = net.add("GlobalAveragePool", x)
        return net.axes("Unsqueeze", net.axes("Squeeze", x, [2, 3], 13), [2], 13)

    def spectrum(net, x):  # Of a power of two: ONNX Runtime is off by 1e-4 with other lengths.
        x = net.add("Reshape", x, net.constant([0, 60, 1], np.int64))
        bounds = [net.constant(value, np.int64) for value in ([8], [40], [1])]
        return net.add("DFT", net.add("Slice", x, *bounds), axis=1)

    shaped = [
        ("gelu", [13], gelu, 60), ("split", [11, 13], split, 60), ("slice", [9, 10, 13], slice_, 45),
        ("pad", [10, 11, 18], pad, 105), ("resize", [11, 13], resize, 240), ("attention", [13], attention, 60),
        ("squeeze", [11, 13], squeezed, 3), ("spectrum", [17], spectrum, 64),
        ("mean", [13, 18], lambda net, x: net.axes("ReduceMean", x, [2, 3], 18, keepdims=1), 3),
        ("sum", [11, 13], lambda net, x: net.axes("ReduceSum", x, [1], 13, keepdims=0), 20),
        ("max", [13, 18], lambda net, x: net.axes("ReduceMax", x, [3], 18, keepdims=1), 12),
        ("prelu", [13], lambda net, x: net.add("PRelu", x, net.random(3, 1, 1)), 60),
        ("sum-of-three", [13], lambda net, x: net.add("Sum", x, x, net.random(1, 3, 4, 5)), 60),
        ("power", [13], lambda net, x: net.add("Pow", net.add("Abs", x), net.constant(1.5)), 60),
        ("where", [13], lambda net, x: net.add("Where", net.add("Greater", x, net.constant(0.1)), x,
                                               net.constant(-1.0)), 60),
        ("max-of-two", [13], lambda net, x: net.add("Max", x, net.random(1, 3, 1, 1)), 60),
        ("instance-norm", [13], lambda net, x: net.add("InstanceNormalization", x, net.random(3), net.random(3)), 60),
        ("layer-norm", [17], lambda net, x: net.add("LayerNormalization", x, net.random(5), net.random(5)), 60),
        ("matmul", [13], lambda net, x: net.add("MatMul", x, net.random(5, 7)), 84),
        ("einsum", [13], lambda net, x: net.add("Einsum", x, net.random(5, 2), equation="bchw,wk->bchk"), 24),
        ("conv-transpose", [13], lambda net, x: net.add("ConvTranspose", x, net.random(3, 2, 2, 2), net.random(2),
                                                        strides=[2, 2]), 160),
        ("dilated", [13], lambda net, x: net.conv(x, 3, 2, dilations=[2, 2], pads=[2] * 4), 40),
        ("strided-same", [13], lambda net, x: net.add("Conv", x, net.random(2, 3, 3, 3), auto_pad="SAME_UPPER",
                                                      strides=[2, 2]), 12),
        ("max-pool-ceil", [13], lambda net, x: net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2],
                                                       ceil_mode=1), 18),
        ("global-max", [13], lambda net, x: net.add("GlobalMaxPool", x), 3),
        ("gather", [13], lambda net, x: net.add("Gather", x, net.constant([2, 0], np.int64), axis=1), 40),
        ("transpose", [13], lambda net, x: net.add("Transpose", x, perm=[0, 2, 3, 1]), 60),
        ("tile", [13], lambda net, x: net.add("Tile", x, net.constant([1, 1, 2, 1], np.int64)), 120),
        ("weights-in-nodes", [13], lambda net, x: net.add("Conv", x, net.random(2, 3, 1, 1, as_node=True)), 40),
    ]
    for name, opsets, step, values in shaped:
        for opset in opsets:
            net = Net((3, 4, 5), opset)
            yield f"{name}-{opset}", ends(net, step(net, net.add("Relu", "input.1")), values), {}
    softmax = image(13)
    softmax.outputs[1] = softmax.add("Softmax", softmax.outputs[1], axis=1)
    yield "softmax", softmax, {}
    alone = image(17)
    alone.outputs = alone.outputs[1:]
    yield "last-tier", alone, {}
    yield "three-exits", three_exits(), {}
    yield "three-exits-external", three_exits(), {"external": True}


def three_exits():
    """A residual network with an exit of logits at each of two cuts, and a softmax at its end."""
    net = Net((1, 12, 12), 17, "N")
    x = net.add("Relu", net.norm(net.conv("input.1", 1, 4), 4))
    exits, channels, values = [], 4, 144
    for filters in [6, 8]:
        x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        values //= 4
        y = net.add("Relu", net.conv(x, channels, channels))
        x = net.add("Relu", net.add("Add", x, net.conv(y, channels, channels)))
        x = net.add("Relu", net.conv(x, channels, filters, size=1))
        channels = filters
        net.cuts.append(x)
        exits.append(net.dense(net.flatten_by_shape(x, channels * values), channels * values, 5))
    x = net.add("GlobalAveragePool", net.add("Relu", net.conv(x, channels, 10)))
    x = net.dense(net.add("Flatten", x, axis=1), 10, 5)
    net.outputs = [*exits, net.add("Softmax", x, axis=-1)]
    return net


def softmax(values):
    values = np.exp(values - values.max(axis=-1, keepdims=True))
    return values / values.sum(axis=-1, keepdims=True)


def run(path, model, shape, batch):
    """The inputs, and the values of all outputs in ONNX Runtime."""
    samples = batch if isinstance(batch, int) else SAMPLES
    values = GENERATOR.normal(0.0, 1.0, (samples, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return values, session.run(None, {session.get_inputs()[0].name: values})


def flat(array):
    return [round(float(value), 8) for value in np.asarray(array).ravel()]


def as_exits(model, outputs):
    """Outputs with a softmax where they are none."""
    makers = {output: node for node in model.graph.node for output in node.output}

    def kind(name):
        node = makers[name]
        return kind(node.input[0]) if node.op_type == "Identity" else node.op_type

    kinds = [kind(output.name) for output in model.graph.output]
    return [o if kind == "Softmax" else softmax(o) for kind, o in zip(kinds, outputs)]


def record(path, model, shape, batch="batch", cuts=(), names=()):
    values, outputs = run(path, model, shape, batch)
    exits = as_exits(model, outputs)
    case = {"input_shape": list(shape), "input": flat(values)}
    if cuts:
        case.update(cuts=list(cuts), exits=list(names), outputs=[flat(output) for output in exits])
    else:
        features = outputs[0] if len(outputs) == 2 else None
        case["features_shape"] = None if features is None else list(features.shape[1:])
        case["features"] = None if features is None else flat(features)
        case["exit"] = flat(exits[-1])
    with open(path[:-len(".onnx")] + ".json", "w", encoding="utf-8") as file:
        json.dump(case, file)
        file.write("\n")


def write(directory, name, net, external=False, **options):
    model = net.model(**options)
    path = os.path.join(directory, name + ".onnx")
    if external:
        beside = name + ".onnx.data"
        if os.path.exists(os.path.join(directory, beside)):
            os.remove(os.path.join(directory, beside))
        onnx.save(model, path, save_as_external_data=True, location=beside, size_threshold=64)
    else:
        onnx.save(model, path)
    record(path, model, net.shape, net.batch, net.cuts, net.outputs)


def from_tensorflow(directory):
    """What tf2onnx makes of Keras models; returns their number."""
    try:
        import keras
        import tensorflow
        import tf2onnx
    except ImportError as error:
        print(f"no cases of tf2onnx: {error}")
        return 0
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import keras_oracle
    wanted = ("dense-", "conv-0", "conv-4", "conv-8", "depthwise-", "separable-0", "MaxPooling2D-2", "AveragePooling2D-2",
              "GlobalAveragePooling2D", "batch-normalization", "reshape", "zero-padding", "residual", "merge-Add",
              "channels-first", "random-")
    keras.utils.set_random_seed(1)
    written = 0
    for at, (name, shape, features) in enumerate(keras_oracle.cases(keras)):
        if not name.startswith(wanted):
            continue
        try:
            model = keras_oracle.functional(keras, shape, features)
            keras_oracle.randomise(model, GENERATOR)
            signature = [tensorflow.TensorSpec((None, *shape), tensorflow.float32, name="x")]
            function = tensorflow.function(lambda x, model=model: model(x, training=False), input_signature=signature)
            path = os.path.join(directory, f"tf2onnx-{name}.onnx")
            converted, _ = tf2onnx.convert.from_function(
                function, input_signature=signature, opset=[13, 15, 17][at % 3], output_path=path)
            if any(node.op_type == "ReduceProd" for node in converted.graph.node):
                # The engine does not follow the product of sizes by which tf2onnx reshapes for a Dense on images.
                raise ValueError("it multiplies sizes of a shape")
            record(path, converted, shape)
            written += 1
        except Exception as error:  # Whatever this TensorFlow or tf2onnx does not know.
            print(f"tf2onnx-{name} left out: {str(error).strip().splitlines()[0][:100]}")
    return written


def main():
    arguments = sys.argv[1:]
    only_fixtures = arguments[0] == "--fixtures"
    directory = arguments[-1]
    os.makedirs(directory, exist_ok=True)
    written = 0
    for name, net, options in cases():
        if only_fixtures and name not in ("three-exits", "external-data", "weights-as-inputs"):
            continue
        try:
            write(directory, name, net, **options)
            written += 1
        except Exception as error:  # Whatever this ONNX Runtime does not know.
            print(f"{name} left out: {str(error).strip().splitlines()[0][:100]}")
    if not only_fixtures:
        written += from_tensorflow(directory)
    print(f"{written} cases in {directory}")


if __name__ == "__main__":
    main()
