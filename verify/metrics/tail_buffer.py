"""The highest scores of a stream, with what belongs to them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError
from verify.metrics.scores import threshold_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Top:
    """High scores with their subjects.

    Attributes:
        score: (k,) float32 or float64.
        subject_a: (k,) int32.
        subject_b: (k,) int32.
        payload: (k,) int64, or None if none was given.
    """

    score: NDArray[np.floating] = field(repr=False)
    subject_a: NDArray[np.int32] = field(repr=False)
    subject_b: NDArray[np.int32] = field(repr=False)
    payload: NDArray[np.int64] | None = field(repr=False)

    @classmethod
    def ascending(cls, pieces: Sequence[Top]) -> Top:
        """All pieces together, in an order that does not depend on theirs: by score, then by pair of subjects."""
        score = np.concatenate([piece.score for piece in pieces])
        whole = cls(
            score=score,
            subject_a=np.concatenate([piece.subject_a for piece in pieces]),
            subject_b=np.concatenate([piece.subject_b for piece in pieces]),
            payload=_joined(pieces),
        )
        order = np.argsort(score, kind="stable")
        ordered = score[order]
        equal = ordered[1:] == ordered[:-1]
        if equal.any():
            tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
            trials = order[tied]
            a, b = whole.subject_a[trials], whole.subject_b[trials]
            keys = [np.minimum(a, b), np.maximum(a, b), ordered[tied]]
            if whole.payload is not None:
                keys.insert(0, whole.payload[trials])
            order[tied] = trials[np.lexsort(keys)]
        return whole.taken(order)

    def taken(self, which: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Top:
        """These of them."""
        payload = None if self.payload is None else self.payload[which]
        return Top(self.score[which], self.subject_a[which], self.subject_b[which], payload)

    def at_or_above(self, threshold: float) -> int:
        """How many scores are at or above `threshold`; scores must be ascending."""
        least = threshold_in(threshold, dtype=self.score.dtype)
        return self.score.size - int(np.searchsorted(self.score, least, side="left"))

    def highest(self, k: int) -> Top:
        """The last `k`, highest first; scores must be ascending."""
        return self.taken(slice(None, max(self.score.size - k, 0) - 1 if k < self.score.size else None, -1))

    def above(self, k: int, *, offset: int) -> Top:
        """The last `k`, subject numbers raised by `offset`."""
        last = self.taken(slice(self.score.size - k, None))
        return Top(
            last.score,
            last.subject_a + np.int32(offset),
            last.subject_b + np.int32(offset),
            last.payload,
        )


class TailBuffer:
    """Keeps the `room` highest of the scores that it is shown; ties at the edge go out together.

    Args:
        room: how many to keep.
        dropped: is handed every score that is not kept.
    """

    __slots__ = ("_dropped", "_pieces", "_room", "_size", "floor")

    def __init__(self, room: int, *, dropped: Callable[[NDArray[np.floating]], None]) -> None:
        self._room, self._dropped = room, dropped
        self._pieces: list[Top] = []
        self._size = 0
        self.floor = -math.inf

    def add(
        self,
        scores: NDArray[np.floating],
        a: NDArray[np.integer],
        b: NDArray[np.integer],
        payload: ArrayLike | None,
    ) -> None:
        """Take (n,) scores with their subjects and payload."""
        carried = None if payload is None else np.asarray(payload)
        if carried is not None and (carried.shape != scores.shape or carried.dtype.kind not in "iu"):
            msg = f"payload must be {scores.size} whole numbers, not {carried.dtype} {carried.shape}"
            raise ScoreError(msg)
        if self.floor > -math.inf:
            keep = _above(scores, self.floor)
            self._dropped(scores[~keep])
            scores, a, b = scores[keep], a[keep], b[keep]
            carried = None if carried is None else carried[keep]
        self._pieces.append(
            Top(
                # copies: the caller may fill the same block again
                np.array(scores),
                a.astype(np.int32),
                b.astype(np.int32),
                None if carried is None else carried.astype(np.int64),
            )
        )
        self._size += scores.size
        if self._size > self._room + max(self._room // 4, 1024):
            self._prune()

    def finish(self) -> Top:
        """What was kept, ascending."""
        if self._size > self._room:
            self._prune()
        pieces, self._pieces = self._pieces, []
        return Top.ascending(pieces)

    def _prune(self) -> None:
        """Let the lowest go, so that no more than `room` are left."""
        scores = np.concatenate([piece.score for piece in self._pieces])
        highest_out = scores.size - self._room - 1
        scores.partition(highest_out)
        self.floor = float(scores[highest_out])
        del scores
        kept: list[Top] = []
        for piece in self._pieces:
            keep = _above(piece.score, self.floor)
            self._dropped(piece.score[~keep])
            kept.append(piece.taken(keep))
        self._pieces = kept
        self._size = sum(piece.score.size for piece in kept)


def _above(scores: NDArray[np.floating], floor: float) -> NDArray[np.bool_]:
    """(n,) which scores lie above `floor`, exact for a floor that is no number of their type."""
    least = threshold_in(floor, dtype=scores.dtype)
    above: NDArray[np.bool_] = scores > least if float(least) == floor else scores >= least
    return above


def _joined(pieces: Sequence[Top]) -> NDArray[np.int64] | None:
    """One payload of all, -1 where a piece has none; None if no piece has one."""
    if all(piece.payload is None for piece in pieces):
        return None
    return np.concatenate(
        [np.full(p.score.size, -1, dtype=np.int64) if p.payload is None else p.payload for p in pieces]
    )
