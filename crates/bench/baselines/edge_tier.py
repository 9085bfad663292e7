"""An edge tier as one writes it without offramp: the baseline of `cargo xtask rival`.

edge_tier.py SERVERS MODEL INPUT ANSWERS FEATURES
"""
import json, sys
import numpy, onnxruntime
from confluent_kafka import Consumer, Producer

servers, model, source, answers, forwards = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
meta = session.get_modelmeta().custom_metadata_map
scale, offset = float(meta["offramp.input_scale"]), float(meta["offramp.input_offset"])
shape, threshold = json.loads(meta["offramp.input_shape"]), float(meta["offramp.exit_threshold"])
producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 0})
consumer = Consumer({"bootstrap.servers": servers, "group.id": source, "auto.offset.reset": "earliest",
                     "enable.auto.commit": False})
consumer.subscribe([source])
while True:
    first = consumer.poll(1.0)  # then what has arrived besides, without waiting for a batch to fill
    batch = [m for m in [first, *consumer.consume(255, 0)] if m and not m.error()] if first else []
    if not batch:
        continue
    pixels = numpy.frombuffer(b"".join(m.value() for m in batch), numpy.uint8)
    images = pixels.reshape(-1, *shape).astype(numpy.float32) * numpy.float32(scale) + numpy.float32(offset)
    features, exits = session.run(["features", "exit"], {"input": images})
    for m, row, softmax in zip(batch, features, exits):
        topic, value = (answers, json.dumps([softmax.tolist()])) if softmax.max() >= threshold else (forwards, row.tobytes())
        producer.produce(topic, value, m.key(), headers=m.headers(), timestamp=m.timestamp()[1])
    producer.flush()
    consumer.commit(asynchronous=True)  # of the batch that is flushed: nothing is lost if this is killed
