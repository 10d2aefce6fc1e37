"""Where the faces are, and which one is the subject's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from verify.errors import ModelError, NoDecisionError, UsageError
from verify.face.mtcnn import MtcnnLocator, MtcnnPlan
from verify.face.yunet import SearchPlan, YuNetLocator
from verify.types import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.models import ModelBundle
    from verify.protocols import Locator
    from verify.types import FaceRegion

__all__ = ["MtcnnLocator", "MtcnnPlan", "SearchPlan", "YuNetLocator", "choose", "open_locator"]

LOCATORS = {"yunet": YuNetLocator, "mtcnn": MtcnnLocator}

# With "refuse", a face smaller than this share of the subject's (in length) stands in the background
# or hangs on a wall: nobody would take it for the one who asks.
NEGLIGIBLE_SIZE = 0.4


def open_locator(bundle: ModelBundle, *, threads: int = 1) -> Locator[FaceRegion]:
    """The locator class that runs this bundle.

    Raises:
        ModelError: no class here runs a bundle of that name.
    """
    if bundle.name not in LOCATORS:
        msg = f"no face locator runs the bundle {bundle.name!r}; known: {', '.join(LOCATORS)}"
        raise ModelError(msg)
    opened: Locator[FaceRegion] = LOCATORS[bundle.name](bundle, threads=threads)
    return opened


def choose(regions: Sequence[FaceRegion], *, policy: str = "largest") -> FaceRegion:
    """The one face that a capture is of.

    Args:
        regions: the faces of one photo, most prominent first, as the locators give them.
        policy: ``largest`` takes the most prominent face: the largest, unless it is cut off or at
            the edge (see `verify.face.boxes.prominence`). ``refuse`` does so only if there is no
            other face of at least `NEGLIGIBLE_SIZE` of its size.

    Raises:
        NoDecisionError: NO_FACE or SEVERAL_FACES.
        UsageError: unknown policy.
    """
    if policy not in ("largest", "refuse"):
        msg = f"policy must be 'largest' or 'refuse', not {policy!r}"
        raise UsageError(msg)
    if not regions:
        msg = "no face was found; take a photo with the face upright, lit and in view"
        raise NoDecisionError(msg, reason=Reason.NO_FACE)
    subject, *others = regions
    rivals = sum(other.size_px >= NEGLIGIBLE_SIZE * subject.size_px for other in others)
    if policy == "refuse" and rivals:
        msg = f"{rivals + 1} faces of similar size were found; take a photo of one person, or crop this one"
        raise NoDecisionError(msg, reason=Reason.SEVERAL_FACES)
    return subject
