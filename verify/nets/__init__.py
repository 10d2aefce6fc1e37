"""Backbones in torch: tensors in, tensors out, no files, no devices, no printing.

Each module holds one network, those with published weights under the names of their state dicts, loaded
strictly. `verify.nets.registry` makes them by name. Encoders have ``raw(x)``, what objectives take, and
``forward(x)``, the same at unit L2 norm; what they take is what the runtime gives a bundle: pixels of
0..255, or Kaldi features. Nothing here is imported at inference.
"""
