"""Input contracts of several encoders over one sample: which views of it the joined model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verify.errors import UsageError
from verify.types import Modality

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verify.models.bundle import ModelBundle

_OF_A_VIEW = ("kind", "alignment", "size_px")


def joint_contract(bundles: Sequence[ModelBundle]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The input contract of bundles run side by side, and the input that each of them reads.

    Equal contracts stay what they are: one input, named as the graphs name it. Faces in several alignments get
    the contract ``several-views``: what the alignments share, and ``views``, each with its own.

    Args:
        bundles: embedders of one modality and one locator, at least one.

    Raises:
        UsageError: they cannot be fed from one sample; the message names the two.
    """
    first, *others = bundles
    for other in others:
        _check_pair(first, other)
    contracts = [dict(bundle.card.input) for bundle in bundles]
    distinct = [one for at, one in enumerate(contracts) if one not in contracts[:at]]
    if len(distinct) == 1:
        name = str(first.session().get_inputs()[0].name)
        return contracts[0], tuple(name for _ in bundles)
    shared = {key: value for key, value in distinct[0].items() if key not in _OF_A_VIEW}
    views = [{key: one[key] for key in _OF_A_VIEW if key in one} for one in distinct]
    contract = {"kind": "several-views", **shared, "views": views}
    return contract, tuple(f"view_{distinct.index(one)}" for one in contracts)


def _check_pair(first: ModelBundle, other: ModelBundle) -> None:
    """Refuse two bundles that no one sample can feed."""
    names = f"{first.name} and {other.name}"
    if first.modality is not other.modality:
        msg = (
            f"{names}: one takes {first.modality}s, the other {other.modality}s; join models of one modality"
        )
        raise UsageError(msg)
    if first.card.locator_id != other.card.locator_id:
        msg = (
            f"{names}: one is cut by {first.card.locator_name}, the other by {other.card.locator_name}; "
            "join models of one locator"
        )
        raise UsageError(msg)
    ours, theirs = dict(first.card.input), dict(other.card.input)
    if any("views" in one for one in (ours, theirs)):
        msg = f"{names}: one of them is made of several views already; name its encoders instead"
        raise UsageError(msg)
    own = _OF_A_VIEW if first.modality is Modality.FACE else ()
    different = sorted(
        key for key in set(ours) | set(theirs) if key not in own and ours.get(key) != theirs.get(key)
    )
    if different:
        msg = f"{names} take their samples differently ({', '.join(different)}): they cannot be one model"
        raise UsageError(msg)
