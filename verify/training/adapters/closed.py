"""Adapters in closed form: WCCN, LDA and PLDA, each drawn towards doing nothing.

An encoder trained on millions of photos of thousands of people is nearly right; a hundred people of your own show
where it is not, and are far too few to learn a metric from scratch. So covariances are shrunk towards a sphere,
at which every method here leaves directions alone, and how far is chosen on people left out of the fit. All take
embeddings that have been centred before (`verify.training.adapters.placing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.training.adapters.samples import Affine
from verify.training.adapters.scatter import between, shrunk, within

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from verify.training.adapters.samples import People

_FLOOR = 1e-4  # smallest share of the largest variance within that is believed


def wccn(people: People, *, shrink: float) -> Affine:
    """Within-class covariance normalisation: directions in which one person varies much count less.

    Hatch, Kajarekar, Stolcke, "Within-class covariance normalization for SVM-based speaker recognition",
    Interspeech 2006. The symmetric root is taken, so that values keep their places.

    Args:
        people: to learn from.
        shrink: of the covariance within, 0 to 1; see `shrunk`.

    Raises:
        InsufficientTrialsError: nobody has two samples.
    """
    values, vectors = np.linalg.eigh(shrunk(within(people), shrink))
    root = (vectors / np.sqrt(_floored(values))) @ vectors.T
    return Affine.linear(root)


def lda(people: People, *, shrink: float, dim: int) -> Affine:
    """Linear discriminant analysis: the directions in which people differ most for how much each varies.

    Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936; with both
    covariances shrunk as in Friedman, "Regularized discriminant analysis", JASA 84, 1989.

    Args:
        people: to learn from.
        shrink: of both covariances, 0 to 1.
        dim: directions that are kept, each of unit variance within.
    """
    basis, _ = _both_diagonal(people, shrink_within=shrink, shrink_between=shrink)
    return Affine.linear(basis[:, :dim])


def plda(people: People, *, shrink_within: float, shrink_between: float) -> Affine:
    """Two-covariance PLDA as an embedding: its inner product is the cross term of the log likelihood ratio.

    With y ~ N(0, B), x = y + e, e ~ N(0, W) and both diagonal in one basis (W = 1, B = psi), the log likelihood
    ratio of two samples is the sum over directions of

        psi / (1 + 2 psi) * x1 x2  -  psi^2 / (2 (1 + psi) (1 + 2 psi)) * (x1^2 + x2^2)  +  constant

    (Ioffe, "Probabilistic linear discriminant analysis", ECCV 2006; Brümmer and de Villiers, "The speaker
    partitioning problem", Odyssey 2010). Each direction is scaled by the root of the first factor. What is dropped
    is the second term, a function of each sample alone: no embedding of unit norm can carry it, and length
    normalisation stands in its place, as in Garcia-Romero and Espy-Wilson, Interspeech 2011.

    Args:
        people: to learn from.
        shrink_within: of W, 0 to 1.
        shrink_between: of B, 0 to 1.
    """
    basis, psi = _both_diagonal(people, shrink_within=shrink_within, shrink_between=shrink_between)
    return Affine.linear(basis * np.sqrt(psi / (1 + 2 * psi)))


def _both_diagonal(
    people: People, *, shrink_within: float, shrink_between: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The basis in which the covariance within is 1, and that between diagonal, largest first.

    Returns:
        (D, D) basis, and (D,) variances between, never below zero.
    """
    noise = within(people)
    values, vectors = np.linalg.eigh(shrunk(noise, shrink_within))
    white = vectors / np.sqrt(_floored(values))
    psi, turned = np.linalg.eigh(white.T @ shrunk(between(people, noise=noise), shrink_between) @ white)
    return white @ turned[:, ::-1], np.maximum(psi[::-1], 0.0)


def _floored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variances away from zero: directions in which nothing varies would outweigh all others."""
    return np.asarray(np.maximum(values, max(_FLOOR * float(values[-1]), np.finfo(np.float64).tiny)))
