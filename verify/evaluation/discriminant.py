"""A linear classifier in closed form, fast enough to be fitted again for hundreds of shuffled labels.

Linear discriminant analysis with equal priors: the class whose mean is nearest in the metric of the covariance within
classes, which is shrunk towards a multiple of the identity as Ledoit and Wolf (2004) compute it from the data, so that
fewer samples than dimensions do no harm. What depends on the labels is only the class means: everything else is done
once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.intp]
    Reals = NDArray[np.float64]

_CELLS = 1 << 24  # discriminants held at once
_FEW = 32  # classes
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Fold:
    """Samples to learn from and samples to be told, in the metric of the former's covariance.

    Attributes:
        train: (n, D) float64, whitened: mean 0, and the shrunk covariance of all is the identity.
        test: (m, D) float64, moved and whitened likewise.
        kept: 1 less the shrinkage, in [0, 1].
    """

    train: Reals
    test: Reals
    kept: float

    @classmethod
    def of(cls, train: NDArray[np.floating], test: NDArray[np.floating]) -> Fold:
        """Whiten (n, D) and (m, D) by what the first of them shows."""
        known = np.asarray(train, dtype=np.float64)
        centre = known.mean(axis=0)
        known = known - centre
        covariance = known.T @ known / len(known)
        shrinkage = ledoit_wolf(known, covariance)
        spread = max(float(np.trace(covariance)) / len(covariance), _TINY)
        values, axes = np.linalg.eigh(covariance)
        whiten = axes / np.sqrt(
            (1.0 - shrinkage) * np.maximum(values, 0.0) + shrinkage * spread + _TINY * spread
        )
        told: Reals = (np.asarray(test, dtype=np.float64) - centre) @ whiten
        return cls(train=known @ whiten, test=told, kept=1.0 - shrinkage)

    def predict(self, labels: Ints, *, classes: int) -> Ints:
        """(m,) the class of each sample to be told.

        Args:
            labels: (n,) class of each sample to learn from, 0 to `classes` - 1; a class that is not there is never
                predicted.
            classes: their number K.
        """
        counts = np.bincount(labels, minlength=classes)
        seen = np.flatnonzero(counts)
        means = self._sums(labels, seen=seen) / counts[seen, None]  # (S, D)
        share = self.kept * counts[seen] / labels.size
        axes = _nearest_within(means, share)  # (S, D)
        offset = 0.5 * np.einsum("sd,sd->s", means, axes)
        step = max(1, _CELLS // seen.size)
        found = [
            np.argmax(self.test[start : start + step] @ axes.T - offset, axis=1)
            for start in range(0, len(self.test), step)
        ]
        predicted: Ints = seen[np.concatenate(found)]
        return predicted

    def _sums(self, labels: Ints, *, seen: Ints) -> Reals:
        """(S, D) sums over the samples of each class that is there."""
        found: Reals
        if seen.size <= _FEW:  # one small product is faster than to sort the samples
            found = (labels == seen[:, None]).astype(np.float64) @ self.train
        else:
            order = np.argsort(labels, kind="stable")
            starts = np.flatnonzero(np.append(True, np.diff(labels[order]) > 0))
            found = np.add.reduceat(self.train[order], starts, axis=0)
        return found


def _nearest_within(means: Reals, share: Reals) -> Reals:
    """(S, D) the means times the inverse covariance within classes, I - sum of share x mean mean^T."""
    found: Reals
    if len(means) <= means.shape[1]:  # as many equations as classes (Woodbury), else as dimensions
        inner = np.eye(len(means)) - (means @ means.T) * share
        found = np.asarray(np.linalg.solve(inner, means), dtype=np.float64)
    else:
        within = np.eye(means.shape[1]) - (means.T * share) @ means
        found = np.asarray(np.linalg.solve(within, means.T).T, dtype=np.float64)
    return found


def ledoit_wolf(centred: Reals, covariance: Reals) -> float:
    """The shrinkage in [0, 1] that is best in expected squared error (Ledoit and Wolf, 2004, J. Multivariate Analysis).

    Args:
        centred: (n, D) samples less their mean.
        covariance: (D, D), theirs, divided by n.
    """
    n, d = centred.shape
    off = covariance - np.eye(d) * (np.trace(covariance) / d)
    spread = float(np.sum(off**2))
    fourth = float(np.sum(np.einsum("nd,nd->n", centred, centred) ** 2)) / n
    noise = (fourth - float(np.sum(covariance**2))) / n
    return 1.0 if spread <= _TINY**2 else min(1.0, max(0.0, noise / spread))
