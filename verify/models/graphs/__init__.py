"""Published weights to ONNX graphs, one file a network, without torch.

Each module offers ``to_onnx(weights) -> dict[file name, onnx.ModelProto]``. The graphs are written
node by node, so that a base install (no torch) can pull every default model.
"""
