"""Calls an inference function with Triton's own client: ADDRESS MODEL, each image in JSON and in binary tensors."""

import sys

import numpy as np
import tritonclient.http as triton

address, model = sys.argv[1:]
client = triton.InferenceServerClient(address)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready(model)
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
metadata = client.get_model_metadata(model)
shape = metadata["inputs"][0]["shape"]
assert shape == [-1, 28, 28], shape
images = np.random.default_rng(7).integers(0, 256, (5, 28, 28))


def infer(datatype, values, binary_in, binary_out, names=("exit", "features", "confidence", "answered", "label")):
    tensor = triton.InferInput("input", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary_in)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in names]
    result = client.infer(model, [tensor], outputs=outputs, request_id="r7")
    assert result.get_response()["id"] == "r7"
    return {name: result.as_numpy(name) for name in names}


first = infer("FP32", images.astype(np.float32), True, True)
assert first["exit"].shape == (5, 10) and np.allclose(first["exit"].sum(axis=1), 1, atol=1e-3)
assert first["answered"].dtype == bool and first["label"].dtype == object
for datatype, kind, binary_in, binary_out in [
    ("FP32", np.float32, False, False),
    ("FP32", np.float32, False, True),
    ("UINT8", np.uint8, True, False),
    ("INT32", np.int32, True, True),
    ("INT64", np.int64, True, True),
    ("FP64", np.float64, True, True),
]:
    other = infer(datatype, images.astype(kind), binary_in, binary_out)
    for name, values in first.items():
        same = np.allclose(values, other[name], atol=1e-6) if name != "label" else None
        labels = [str(label.decode() if isinstance(label, bytes) else label) for label in other["label"]]
        assert same is not False, (datatype, binary_in, binary_out, name)
        assert labels == [label.decode() for label in first["label"]], (datatype, labels)
# Without outputs named, all come, as the client's default has it: in binary.
tensor = triton.InferInput("input", [5, 28, 28], "FP32")
tensor.set_data_from_numpy(images.astype(np.float32))
assert client.infer(model, [tensor]).as_numpy("exit").shape == (5, 10)
try:
    infer("FP32", images[:, :3].astype(np.float32), True, True)
    raise AssertionError("a wrong shape was taken")
except triton.InferenceServerException as error:
    assert "of shape [28, 28]" in str(error), error
print("ok")
