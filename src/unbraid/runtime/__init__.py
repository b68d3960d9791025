"""The CPU runtime: a text, code snippet or picture to its base vector with onnxruntime."""
