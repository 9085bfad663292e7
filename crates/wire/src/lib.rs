//! What crosses a process boundary: records, headers, tensors, function bodies.
