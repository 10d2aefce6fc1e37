"""Proof that a fused bundle computes what its encoders and the adapter compute apart, on real samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import MediaError, ModelIntegrityError, NoDecisionError
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from verify.models.bundle import ModelBundle
    from verify.training.adapters.samples import Affine

    Views = tuple[NDArray[Any], ...]

MAX_DIFFERENCE = 1e-4  # of any cosine


def prove(
    fused: ModelBundle,
    encoders: Sequence[ModelBundle],
    affine: Affine,
    *,
    reads: Sequence[str],
    samples: Sequence[Path],
    thresholds: Mapping[str, float],
) -> dict[str, Any]:
    """Run the fused graph and the encoders on the same normalised samples; return the record for the card.

    Args:
        fused: the new bundle.
        encoders: those in it, in order.
        affine: the adapter, computed here in float64.
        reads: for each encoder, the fused graph's input that it reads.
        samples: photos or recordings; those without a face or speech are passed over.
        thresholds: name -> cosine at which every decision must be the same.

    Raises:
        ModelIntegrityError: no sample could be used, a cosine differs by more than `MAX_DIFFERENCE`, or a decision
            differs.
    """
    import onnxruntime

    inputs = [views for path in samples for views in _normalised(fused, path)]
    if not inputs:
        msg = f"{fused.name}: none of {len(samples)} samples shows a face or speech, so nothing proves the graph"
        raise ModelIntegrityError(msg)
    places = {name: place for place, name in enumerate(dict.fromkeys(reads))}
    apart = np.hstack(
        [
            _embedded(encoder, [(views[places[name]],) for views in inputs])
            for encoder, name in zip(encoders, reads, strict=True)
        ]
    )
    found, wanted = _embedded(fused, inputs).astype(np.float64), affine.apply(apart)
    between, expected = found @ found.T, wanted @ wanted.T
    worst = max(
        float(np.abs(between - expected).max()), float(np.abs(1 - np.sum(found * wanted, axis=1)).max())
    )
    pairs = np.triu_indices(len(inputs), 1)
    differ = {
        name: int(np.count_nonzero((between[pairs] >= limit) != (expected[pairs] >= limit)))
        for name, limit in thresholds.items()
    }
    if not worst <= MAX_DIFFERENCE or any(differ.values()):
        msg = (
            f"{fused.name}: graph and encoders differ by {worst:.3g} of cosine (at most {MAX_DIFFERENCE:g}), decisions "
            f"that differ: {differ}; nothing was written: this is a fault in verify, please report it"
        )
        raise ModelIntegrityError(msg)
    return {
        "origin": "the encoders' own bundles, and the adapter in float64, on real samples",
        "samples": len(inputs),
        "pairs": len(pairs[0]),
        "max_cosine_difference": worst,
        "limit": MAX_DIFFERENCE,
        "decisions_that_differ": differ,
        "onnxruntime": onnxruntime.__version__,
    }


def _embedded(bundle: ModelBundle, inputs: Sequence[Views]) -> NDArray[np.float32]:
    if bundle.modality is Modality.FACE:
        from verify.face.embed import FaceEmbedder

        return FaceEmbedder(bundle).embed(list(inputs))
    from verify.voice.embed import VoiceEmbedder

    return VoiceEmbedder(bundle).embed([views[0] for views in inputs])


def _normalised(bundle: ModelBundle, path: Path) -> Iterator[Views]:
    """What the embedder would be given for one file; nothing where there is no face or speech."""
    try:
        yield from (_views if bundle.modality is Modality.FACE else _chunks)(bundle, path)
    except (NoDecisionError, MediaError):
        return


def _views(bundle: ModelBundle, path: Path) -> Iterator[Views]:
    from verify.face.decode import decode
    from verify.face.locate import choose, open_locator
    from verify.face.normalise import views

    sample = decode(path)
    region = choose(open_locator(bundle.locator()).locate(sample))
    yield views(sample, region, contract=bundle.card.input)


def _chunks(bundle: ModelBundle, path: Path) -> Iterator[Views]:
    from verify.voice.decode import open_audio
    from verify.voice.locate import SileroLocator
    from verify.voice.normalise import chunks

    locator = SileroLocator(bundle.locator())
    for block in open_audio(path):
        for piece in chunks(block, locator.locate(block), contract=bundle.card.input):
            yield (piece.features,)
