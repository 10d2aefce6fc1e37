"""Objectives taken from pytorch-metric-learning as they are, on the joint batch and with the memory.

The heads, triplets and contrastive losses that the recipes use are our own (`softmax`, `mining`, `contrast`), held
against the library's in tests, for their memory and speed; `tools/bench/objective_steps.py` measures both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from verify.errors import MissingExtraError
from verify.training.objectives.base import within
from verify.training.objectives.pairs import PairObjective, PairOptions, Pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiSimilarityOptions(PairOptions):
    """Multi-similarity loss; Wang et al., CVPR 2019, https://arxiv.org/abs/1904.06627.

    Attributes:
        alpha: weight's exponent of mated pairs.
        beta: weight's exponent of non-mated pairs.
        base: cosine between the two sides.
    """

    alpha: float = 2.0
    beta: float = 50.0
    base: float = 0.5

    def __post_init__(self) -> None:
        super(MultiSimilarityOptions, self).__post_init__()
        within("alpha", self.alpha, least=0.1, most=1000.0)
        within("beta", self.beta, least=0.1, most=1000.0)
        within("base", self.base, least=-1.0, most=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CircleOptions(PairOptions):
    """Circle loss; Sun et al., CVPR 2020, https://arxiv.org/abs/2002.10857.

    Attributes:
        margin_cosine: m, how far from their optimum (1 and 0) cosines may stay.
        scale: gamma.
    """

    margin_cosine: float = 0.25
    scale: float = 256.0

    def __post_init__(self) -> None:
        super(CircleOptions, self).__post_init__()
        within("margin_cosine", self.margin_cosine, least=0.0, most=1.0)
        within("scale", self.scale, least=1.0, most=1000.0)


class Borrowed(PairObjective):
    """A pair loss of pytorch-metric-learning.

    Args:
        make: the library's module of losses to the loss, with margins as they stand after the ramp.
        memory: as for all pair objectives.
        dim: embedding size.
    """

    def __init__(self, make: Callable[[Any], Any], *, memory: int, dim: int) -> None:
        super().__init__(memory=memory, dim=dim)
        try:
            from pytorch_metric_learning import losses
        except ImportError as error:
            msg = "this objective needs pytorch-metric-learning: pip install '.[train]' in verify's source folder"
            raise MissingExtraError(msg) from error
        self.borrowed = make(losses)

    def loss_of(self, pairs: Pairs) -> Tensor:
        """The loss of the joint batch, a scalar."""
        if len(pairs.columns) == len(pairs.rows):
            return self.borrowed(pairs.rows, pairs.row_labels)  # type: ignore[no-any-return, unused-ignore]
        indices = _trials(pairs)
        return self.borrowed(  # type: ignore[no-any-return, unused-ignore]
            pairs.rows, pairs.row_labels, indices, ref_emb=pairs.columns, ref_labels=pairs.column_labels
        )


def multi_similarity(options: MultiSimilarityOptions, *, dim: int) -> Borrowed:
    """Multi-similarity loss."""
    return Borrowed(
        lambda losses: losses.MultiSimilarityLoss(options.alpha, options.beta, options.base),
        memory=options.memory,
        dim=dim,
    )


def circle(options: CircleOptions, *, dim: int) -> Borrowed:
    """Circle loss; its margin is not ramped."""
    return Borrowed(
        lambda losses: losses.CircleLoss(m=options.margin_cosine, gamma=options.scale),
        memory=options.memory,
        dim=dim,
    )


def _trials(pairs: Pairs) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The library's form of all mated and all non-mated trials but each anchor's with itself."""
    mated = pairs.mated
    anchor, positive = (mated & ~pairs.self_mated).nonzero(as_tuple=True)
    other, negative = (~mated).nonzero(as_tuple=True)
    return anchor, positive, other, negative
