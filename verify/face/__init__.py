"""Faces: decode, locate, normalise, quality, embed. The same five files as in `verify.voice`.

`verify.face.headers` reads image headers for decode; `yunet` and `mtcnn` are the two locators
that `locate` offers, and `boxes` is what these two share.
"""
