"""Does a converted network still decide as its original did? Cosines and decisions on the same real samples.

The threshold that decisions are held at lies in the widest gap between scores near the target: two networks
that differ by rounding then agree on every decision, and one that has really changed shows it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from verify.errors import DataError, ModelIntegrityError
from verify.metrics import eer, fmr, fnmr, threshold_at_fmr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TARGETS = (1e-2, 1e-3)
_NEAR = 0.9  # the gap is looked for where the rate is at least this share of the target
_LEAST_PAIRS = 10  # a rate that fewer non-mated pairs than this support is not a rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a converted network may be from its original.

    Attributes:
        cosine: largest difference of any cosine.
        mated: share of mated pairs that may be decided differently at a threshold.
        non_mated: share of non-mated pairs that may, as a fraction of the threshold's FMR.
    """

    cosine: float
    mated: float
    non_mated: float


SAME = Limits(cosine=1e-4, mated=0.0, non_mated=0.0)  # same numbers in another runtime
HALF = Limits(cosine=0.01, mated=0.005, non_mated=0.1)  # weights of 11 bits
INTEGER = Limits(cosine=0.2, mated=0.02, non_mated=0.5)  # weights and activations of 8 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """The decisions of both networks at one threshold of the original.

    Attributes:
        target_fmr: what the threshold was chosen for, on these samples.
        threshold: cosine.
        fmr: of the original at it.
        fmr_converted: of the converted network at it.
        fnmr: of the original at it.
        fnmr_converted: of the converted network at it.
        fnmr_own: of the converted network at a threshold of its own for the same target: what
            calibrating it anew will come to.
        mated_differing: mated pairs decided differently.
        non_mated_differing: non-mated pairs decided differently.
    """

    target_fmr: float
    threshold: float
    fmr: float
    fmr_converted: float
    fnmr: float
    fnmr_converted: float
    fnmr_own: float
    mated_differing: int
    non_mated_differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two networks agree on the same samples.

    Attributes:
        samples: compared, all with all.
        subjects: people.
        mated: pairs.
        non_mated: pairs.
        to_original: largest 1 - cosine of a sample's two embeddings.
        between: largest difference of the cosine of a pair.
        eer: of the original.
        eer_converted: of the converted network.
        decisions: at each target that the non-mated pairs support.
    """

    samples: int
    subjects: int
    mated: int
    non_mated: int
    to_original: float
    between: float
    eer: float
    eer_converted: float
    decisions: tuple[Decisions, ...]

    @property
    def difference(self) -> float:
        """The largest difference of any cosine."""
        return max(self.to_original, self.between)

    def beyond(self, limits: Limits) -> list[str]:
        """What goes beyond the limits, in words; empty if nothing does."""
        found = []
        if not self.difference <= limits.cosine:  # NaN is no agreement either
            found.append(f"a cosine differs by {self.difference:.3g}, more than {limits.cosine:g}")
        for one in self.decisions:
            at = f"at FMR {one.target_fmr:g}"
            for kind, count, of, share in (
                ("mated", one.mated_differing, self.mated, limits.mated),
                ("non-mated", one.non_mated_differing, self.non_mated, limits.non_mated * one.target_fmr),
            ):
                if count > share * of:
                    found.append(
                        f"{count} of {of} {kind} pairs are decided differently {at}, more than {share:.3g} of them"
                    )
        return found

    def on_card(self) -> dict[str, Any]:
        """For the card's ``parity``: JSON values, rounded to what they can tell."""
        import dataclasses

        facts = dataclasses.asdict(self)
        facts["max_cosine_difference"] = max(facts.pop("to_original"), facts.pop("between"))
        facts["decisions"] = [dict(one) for one in facts["decisions"]]
        rounded: dict[str, Any] = _rounded(facts)
        return rounded


def agreement(
    original: NDArray[np.float32], converted: NDArray[np.float32], labels: NDArray[np.int64]
) -> Agreement:
    """Compare the embeddings of two networks.

    Args:
        original: (n, D) float32 of unit L2 norm.
        converted: (n, D) likewise, of the same samples in the same order.
        labels: (n,) whose each sample is.

    Raises:
        ModelIntegrityError: embeddings that are not finite or not of unit norm, or of another shape.
        DataError: no two samples of one subject, or one subject only.
    """
    for name, rows in (("original", original), ("converted network", converted)):
        norms = np.linalg.norm(rows.astype(np.float64), axis=1)
        if rows.shape != original.shape or not np.abs(norms - 1).max(initial=0.0) < 1e-3:  # noqa: PLR2004  NaN too
            msg = (
                f"the {name} gave embeddings {rows.shape} with norms of {norms.min():.4g} to {norms.max():.4g}, not "
                f"{original.shape} of norm 1: its weights are damaged, or this is a fault in verify"
            )
            raise ModelIntegrityError(msg)
    ours, theirs = original.astype(np.float64), converted.astype(np.float64)
    one, other = ours @ ours.T, theirs @ theirs.T
    upper = np.triu_indices(len(labels), 1)
    mate = (labels[:, None] == labels[None, :])[upper]
    if not mate.any() or mate.all():
        msg = (
            f"{len(labels)} samples of {len(np.unique(labels))} subjects hold no pair of one subject, or none of two: "
            "decisions cannot be compared; bring more validation subjects"
        )
        raise DataError(msg)
    before, after = one[upper], other[upper]
    pairs = _Pairs(before[mate], before[~mate], after[mate], after[~mate])
    supported = [target for target in TARGETS if target * pairs.non_mated.size >= _LEAST_PAIRS]
    return Agreement(
        samples=len(labels),
        subjects=len(np.unique(labels)),
        mated=pairs.mated.size,
        non_mated=pairs.non_mated.size,
        to_original=float(np.abs(1 - (ours * theirs).sum(axis=1)).max()),
        between=float(np.abs(before - after).max()),
        eer=float(eer(mated=pairs.mated, non_mated=pairs.non_mated)),
        eer_converted=float(eer(mated=pairs.mated_after, non_mated=pairs.non_mated_after)),
        decisions=tuple(_at(pairs, target) for target in supported),
    )


def settled_threshold(*, non_mated: NDArray[np.float64], mated: NDArray[np.float64], target: float) -> float:
    """The middle of the widest gap between scores where the FMR is between 0.9 of the target and the target."""
    lowest = threshold_at_fmr(non_mated=non_mated, target=target)
    highest = max(threshold_at_fmr(non_mated=non_mated, target=_NEAR * target), lowest)
    scores = np.unique(np.concatenate([mated, non_mated]))
    first = int(np.searchsorted(scores, lowest, side="left"))
    last = int(np.searchsorted(scores, highest, side="left"))
    around = scores[max(first - 1, 0) : last + 1]
    if len(around) < 2:  # noqa: PLR2004  all scores alike
        return float(lowest)
    widest = int(np.argmax(np.diff(around)))
    return float((around[widest] + around[widest + 1]) / 2)


@dataclass(frozen=True, slots=True)
class _Pairs:
    mated: NDArray[np.float64]
    non_mated: NDArray[np.float64]
    mated_after: NDArray[np.float64]
    non_mated_after: NDArray[np.float64]


def _at(pairs: _Pairs, target: float) -> Decisions:
    threshold = settled_threshold(non_mated=pairs.non_mated, mated=pairs.mated, target=target)
    own = threshold_at_fmr(non_mated=pairs.non_mated_after, target=target)
    return Decisions(
        target_fmr=target,
        threshold=threshold,
        fmr=fmr(non_mated=pairs.non_mated, threshold=threshold),
        fmr_converted=fmr(non_mated=pairs.non_mated_after, threshold=threshold),
        fnmr=fnmr(mated=pairs.mated, threshold=threshold),
        fnmr_converted=fnmr(mated=pairs.mated_after, threshold=threshold),
        fnmr_own=fnmr(mated=pairs.mated_after, threshold=own),
        mated_differing=_differing(pairs.mated, pairs.mated_after, threshold),
        non_mated_differing=_differing(pairs.non_mated, pairs.non_mated_after, threshold),
    )


def _differing(before: NDArray[np.float64], after: NDArray[np.float64], threshold: float) -> int:
    return int(np.count_nonzero((before >= threshold) != (after >= threshold)))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def worst(found: Sequence[str]) -> str:
    """Several reasons as one sentence."""
    return "; ".join(found)
