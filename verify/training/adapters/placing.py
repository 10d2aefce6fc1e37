"""Where each encoder's embeddings are put before anything else: centred by a share, and weighted.

Embeddings of one camera or microphone share a mean that says nothing of who it is. Taking it away helps most
encoders and ruins some: dlib's embeddings of poor photos lie close to the mean, so that what is left of them is
noise of unit length, and strangers meet there (FNMR at FMR 1e-3 up by a half). So the share is chosen for each
encoder apart, as is its weight beside the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from verify.training.adapters.samples import Affine
from verify.training.adapters.scatter import centre_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verify.training.adapters.samples import People

WEIGHTS = (0.5, 0.7, 1.0, 1.4, 2.0)
CENTRES = (0.0, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Placement:
    """What is done to each encoder's block.

    Attributes:
        centres: share of the block's mean that is taken away, 0 to 1.
        weights: factor of the block afterwards; the first stays 1.
    """

    centres: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def plain(cls, encoders: int) -> Placement:
        """Leaves every block where it is."""
        return cls((0.0,) * encoders, (1.0,) * encoders)

    def fitted(self, people: People) -> Affine:
        """The map for these people's mean."""
        weights = np.repeat(self.weights, people.dims)
        shares = np.repeat(self.centres, people.dims)
        return Affine(np.diag(weights), -shares * centre_of(people) * weights)

    def alternatives(self, encoder: int, what: str) -> Iterator[Placement]:
        """Every centre, or every weight, for one encoder; the others as they are."""
        values = CENTRES if what == "centres" else WEIGHTS
        mine: tuple[float, ...] = getattr(self, what)
        for value in values:
            yield replace(self, **{what: (*mine[:encoder], value, *mine[encoder + 1 :])})


def turns(encoders: int) -> Iterator[tuple[int, str]]:
    """What is chosen one after the other: all centres, then the weights of all but the first, then centres again."""
    yield from ((encoder, "centres") for encoder in range(encoders))
    if encoders > 1:
        yield from ((encoder, "weights") for encoder in range(1, encoders))
        yield from ((encoder, "centres") for encoder in range(encoders))
