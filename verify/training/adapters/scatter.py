"""What varies within a person, and what varies between people, with shrinkage towards a sphere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.errors import InsufficientTrialsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.training.adapters.samples import People


def centre_of(people: People) -> NDArray[np.float64]:
    """(D,) mean over sets of their means over people: nobody with many photos, no large set pulls it."""
    centres = []
    for number in np.unique(people.source):
        mine = people.source == number
        means, _ = _means(people.vectors[mine], people.owner[mine])
        centres.append(means.mean(axis=0))
    return np.asarray(np.mean(centres, axis=0))


def within(people: People) -> NDArray[np.float64]:
    """(D, D) pooled covariance of samples about their person's mean, unbiased.

    Raises:
        InsufficientTrialsError: nobody has two samples.
    """
    means, places = _means(people.vectors, people.owner)
    freedom = len(people) - len(means)
    if freedom < 1:
        msg = (
            "nobody has two samples, so nothing shows how one person's samples vary: an adapter needs at least "
            "two samples each of several people"
        )
        raise InsufficientTrialsError(msg)
    rest = people.vectors - means[places]
    return np.asarray(rest.T @ rest / freedom)


def between(people: People, *, noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D, D) covariance of people about their own set's centre, less what the noise within adds; may be indefinite.

    Args:
        people: whose means vary.
        noise: (D, D) covariance within a person.
    """
    total, freedom, share = np.zeros_like(noise), 0, 0.0
    for number in np.unique(people.source):
        mine = people.source == number
        means, places = _means(people.vectors[mine], people.owner[mine])
        counts = np.bincount(places)
        rest = means - means.mean(axis=0)
        total += rest.T @ rest
        share += float(np.sum(1.0 / counts)) * (1 - 1 / len(means))
        freedom += len(means) - 1
    if freedom < 1:
        msg = "one person alone shows nothing of how people differ: an adapter needs several people in a set"
        raise InsufficientTrialsError(msg)
    return np.asarray((total - share * noise) / freedom)


def shrunk(covariance: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """A covariance drawn towards the sphere of equal trace: 0 leaves it, 1 gives the sphere.

    After Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    J. Multivariate Analysis 88(2), 2004; the share is chosen by validation here.
    """
    dim = len(covariance)
    sphere = max(float(np.trace(covariance)), 0.0) / dim
    return np.asarray((1 - share) * covariance + share * sphere * np.eye(dim))


def _means(
    vectors: NDArray[np.float64], owner: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Each person's mean (S, D), and the place of each row's person in it."""
    _, places = np.unique(owner, return_inverse=True)
    counts = np.bincount(places)
    sums = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(sums, places, vectors)
    return sums / counts[:, None], places
