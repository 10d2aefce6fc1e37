"""Backbones in torch: tensors in, tensors out, no files, no devices, no printing.

Each module holds one published network under the names of its published state dict, loaded
strictly. They are what training starts from, and what a converted bundle must agree with. All
encoders end in an embedding of unit L2 norm; nothing here is imported at inference.
"""
