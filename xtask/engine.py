"""ONNX Runtime on one thread, with what `cargo bench -p model --bench engine` prints: python engine.py MODEL.onnx..."""

import sys
import time

import numpy as np
import onnxruntime

BATCHES, RUNS, RUN_TIME = [1, 8, 32, 64], 7, 0.15


def resident_kib():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def rate(session, name, values):
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < RUN_TIME:
        session.run(None, {name: values})
        done += len(values)
    return done / (time.perf_counter() - start)


for path in sys.argv[1:]:
    before = resident_kib()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    model_input = session.get_inputs()[0]
    shown = "/".join(path.split("/")[-2:])
    for batch in BATCHES:
        shape = (batch, *model_input.shape[1:])
        values = np.random.default_rng(1).uniform(0.0, 255.0, shape).astype(np.float32)
        rate(session, model_input.name, values)
        rates = sorted(rate(session, model_input.name, values) for _ in range(RUNS))
        print(f"{shown:<28} {batch:>5} {rates[RUNS // 2]:>12.0f} {rates[0]:>14.0f} to {rates[-1]:.0f}")
    print(f"{shown:<28} resident {resident_kib() - before:+} KiB, {resident_kib()} KiB in all")
