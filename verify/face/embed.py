"""Normalised faces to embeddings of unit length."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from verify.models import ModelBundle

_CONTRACT = {"colour": "rgb", "range": "0..255", "layout": "NCHW"}
_BATCH = 16  # beyond this a batch gains nothing on a CPU and only takes memory


def open_embedder(bundle: ModelBundle, *, threads: int = 1) -> FaceEmbedder:
    """The embedder that runs this bundle."""
    return FaceEmbedder(bundle, threads=threads)


class FaceEmbedder:
    """Runs an ONNX face encoder. Safe across threads.

    Args:
        bundle: an embedder bundle whose graph takes (B, 3, H, W) float32 in 0..255, one input for each
            view of its contract, and ends in unit L2 norm.
        threads: compute threads of one run.

    Raises:
        ModelError: the graph takes faces in another form.
    """

    def __init__(self, bundle: ModelBundle, *, threads: int = 1) -> None:
        self._check_contract(bundle)
        self._bundle = bundle
        self._session = bundle.session(threads=threads)
        self._inputs = [entry.name for entry in self._session.get_inputs()]

    @property
    def model_id(self) -> str:
        """sha256 over weights, preprocessing and post-processing."""
        return self._bundle.model_id

    @property
    def dim(self) -> int:
        """Embedding size D."""
        return self._bundle.card.dim

    def embed(
        self, batch: Sequence[NDArray[Any]] | Sequence[tuple[NDArray[Any], ...]]
    ) -> NDArray[np.float32]:
        """Embed faces.

        Args:
            batch: normalised faces, each (H, W, 3) uint8 RGB as `verify.face.normalise` gives them; or, for
                each face, the tuple of its views.

        Returns:
            (B, D) float32 of unit L2 norm.

        Raises:
            ModelError: the graph's output is not finite.
        """
        rows = [self._run(batch[at : at + _BATCH]) for at in range(0, len(batch), _BATCH)]
        return np.concatenate([np.zeros((0, self.dim), np.float32), *rows])

    @staticmethod
    def _check_contract(bundle: ModelBundle) -> None:
        contract = bundle.card.input
        asked = tuple(contract.get(key, usual) for key, usual in _CONTRACT.items())
        if asked != tuple(_CONTRACT.values()):
            msg = (
                f"{bundle.name} asks for faces as {dict(contract)}; this version of verify gives {_CONTRACT}"
            )
            raise ModelError(msg)

    def _run(self, faces: Sequence[NDArray[Any] | tuple[NDArray[Any], ...]]) -> NDArray[np.float32]:
        seen = [face if isinstance(face, tuple) else (face,) for face in faces]
        if any(len(views) != len(self._inputs) for views in seen):
            msg = f"{self._bundle.name} takes {len(self._inputs)} views of a face, not {len(seen[0])}"
            raise UsageError(msg)
        feed = {
            name: np.stack([_checked(chip).transpose(2, 0, 1) for chip in chips]).astype(np.float32)
            for name, chips in zip(self._inputs, zip(*seen, strict=True), strict=True)
        }
        vectors: NDArray[np.float32] = self._session.run(None, feed)[0]
        return _unit(vectors, name=self._bundle.name)


def _checked(chip: NDArray[Any]) -> NDArray[np.uint8]:
    if chip.ndim != 3 or chip.shape[2] != 3 or chip.dtype != np.uint8:  # noqa: PLR2004
        msg = f"a normalised face is (H, W, 3) uint8, not {chip.shape} {chip.dtype}"
        raise UsageError(msg)
    return chip


def _unit(vectors: NDArray[Any], *, name: str) -> NDArray[np.float32]:
    """Rows to exact unit length: what the graph normalised in float32 may be off in the last bits."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (norms > 0).all() or not np.isfinite(norms).all():
        msg = f"{name} gave an embedding of length 0 or not finite; the model or the runtime is damaged"
        raise ModelError(msg)
    return np.asarray(vectors / norms, dtype=np.float32)
