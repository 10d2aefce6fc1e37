"""Adapters: a small linear transform on frozen embeddings, learnt from your own people in seconds to minutes.

The first thing to try without a GPU. `fit_adapter` chooses and fits one, `before_and_after` measures it on people
that it never saw, `write_adapted` fuses it into the encoders' graph as a bundle with a model_id of its own.
"""

from verify.training.adapters.choosing import KINDS, Fitted, fit_adapter
from verify.training.adapters.measures import AFTER, BEFORE, before_and_after, thresholds, verdict
from verify.training.adapters.samples import Affine, People, joined_people

__all__ = [
    "AFTER",
    "BEFORE",
    "KINDS",
    "Affine",
    "Fitted",
    "People",
    "before_and_after",
    "fit_adapter",
    "joined_people",
    "thresholds",
    "verdict",
]
