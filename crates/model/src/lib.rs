//! Sub-model artefacts: Keras import, ONNX, engine, exit criteria, datasets.
