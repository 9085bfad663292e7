"""An edge tier with Keras, as well as it goes: batches of what has arrived, `model(x)` compiled, never `predict`.

edge_tier_keras.py SERVERS MODEL INPUT ANSWERS FEATURES

MODEL is the ONNX file that the other systems run; its layers and weights become a Keras model of the same network.
"""
import json, os, sys

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
import numpy, onnx, tensorflow
from confluent_kafka import Consumer, Producer
from keras import Input, Model, layers

servers, path, source, answers, forwards = sys.argv[1:]
graph = onnx.load(path)
meta = {entry.key: entry.value for entry in graph.metadata_props}
scale, offset = float(meta["offramp.input_scale"]), float(meta["offramp.input_offset"])
shape, threshold = json.loads(meta["offramp.input_shape"]), float(meta["offramp.exit_threshold"])
weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}


def keras_model():
    """Keras has channels last and Dense with its bias; the file has channels first, and products and sums."""
    image = Input(shape)
    values = {"input": image}
    products = {}
    for node in graph.graph.node:
        of = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        x = values.get(node.input[0])
        if node.op_type == "Reshape" and len(x.shape) == 3:
            y = layers.Reshape((*shape, 1))(x)
        elif node.op_type == "Reshape":
            y = layers.Flatten()(layers.Permute((3, 1, 2))(x))
        elif node.op_type == "Conv":
            kernel, bias = weights[node.input[1]], weights[node.input[2]]
            conv = layers.Conv2D(kernel.shape[0], of["kernel_shape"], of["strides"])
            y = conv(layers.ZeroPadding2D(of["pads"][:2])(x) if any(of["pads"]) else x)
            conv.set_weights([kernel.transpose(2, 3, 1, 0), bias])
        elif node.op_type == "Relu":
            y = layers.ReLU()(x)
        elif node.op_type == "MatMul":
            products[node.output[0]] = y = (x, weights[node.input[1]])
        elif node.op_type == "Add":
            x, kernel = products[node.input[0]]
            dense = layers.Dense(kernel.shape[1])
            y = dense(x)
            dense.set_weights([kernel, weights[node.input[1]]])
        elif node.op_type == "Softmax":
            y = layers.Softmax()(x)
        else:
            sys.exit(f"`{node.op_type}` is no operator of the shipped edge tiers")
        values[node.output[0]] = y
    return Model(image, [values["features"], values["exit"]])


model = keras_model()
run = tensorflow.function(lambda x: model(x, training=False), reduce_retracing=True,
                          input_signature=[tensorflow.TensorSpec((None, *shape), tensorflow.float32)])
run(numpy.zeros((1, *shape), numpy.float32))
producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 0})
consumer = Consumer({"bootstrap.servers": servers, "group.id": source, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False})
consumer.subscribe([source])
while True:
    first = consumer.poll(1.0)
    batch = [m for m in [first, *consumer.consume(255, 0)] if m and not m.error()] if first else []
    if not batch:
        continue
    pixels = numpy.frombuffer(b"".join(m.value() for m in batch), numpy.uint8)
    images = pixels.reshape(-1, *shape).astype(numpy.float32) * numpy.float32(scale) + numpy.float32(offset)
    features, exits = (tensor.numpy() for tensor in run(images))
    for m, row, softmax in zip(batch, features, exits):
        topic, value = (answers, json.dumps([softmax.tolist()])) if softmax.max() >= threshold else (forwards, row.tobytes())
        producer.produce(topic, value, m.key(), headers=m.headers(), timestamp=m.timestamp()[1])
    producer.flush()
    consumer.commit(asynchronous=True)
