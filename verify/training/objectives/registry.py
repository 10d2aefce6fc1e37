"""Objectives by name: built-ins and those of other packages (entry-point group ``verify.objectives``)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from verify.config import build, unknown
from verify.errors import EnvironmentProblemError, UsageError
from verify.training.objectives import contrast, heads, library, siamese, triplet, views

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from verify.training.recipe import ObjectiveSection

ENTRY_POINTS = "verify.objectives"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A built-in objective.

    Attributes:
        options: dataclass of its options; each checks its own values.
        make: the options, embedding size and number of identities to the objective.
        about: one line.
    """

    options: type
    make: Callable[..., nn.Module]
    about: str


def _head(kind: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    return lambda options, *, dim, identities: kind(options, dim=dim, identities=identities)


def _pairs(kind: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    return lambda options, *, dim, identities: kind(options, dim=dim)  # noqa: ARG005  pairs know no classes


OBJECTIVES: Mapping[str, Entry] = MappingProxyType(
    {
        "arcface": Entry(
            options=heads.ArcFaceOptions,
            make=_head(heads.ArcFace),
            about="class centres, margin on the angle",
        ),
        "subcenter_arcface": Entry(
            options=heads.SubcenterOptions,
            make=_head(heads.ArcFace),
            about="ArcFace with several centres a class, for noisy labels",
        ),
        "cosface": Entry(
            options=heads.CosFaceOptions,
            make=_head(heads.CosFace),
            about="class centres, margin on the cosine",
        ),
        "adaface": Entry(
            options=heads.AdaFaceOptions,
            make=_head(heads.AdaFace),
            about="class centres, margin by the sample's quality",
        ),
        "triplet": Entry(
            options=triplet.TripletOptions,
            make=_pairs(triplet.Triplet),
            about="triplets: batch-hard, semi-hard or by curriculum",
        ),
        "supcon": Entry(
            options=contrast.SupConOptions,
            make=_pairs(contrast.SupCon),
            about="supervised contrastive loss",
        ),
        "infonce": Entry(
            options=contrast.InfoNCEOptions,
            make=_pairs(contrast.InfoNCE),
            about="InfoNCE with a learnt temperature; two views: SimCLR",
        ),
        "siamese": Entry(
            options=siamese.SiameseOptions,
            make=_pairs(siamese.Siamese),
            about="contrastive loss of all pairs",
        ),
        "multi_similarity": Entry(
            options=library.MultiSimilarityOptions,
            make=_pairs(library.multi_similarity),
            about="pairs weighted by how they compare (pytorch-metric-learning)",
        ),
        "circle": Entry(
            options=library.CircleOptions,
            make=_pairs(library.circle),
            about="pairs weighted by how far they are from their optimum (pytorch-metric-learning)",
        ),
        "moco": Entry(
            options=views.MoCoOptions,
            make=_pairs(views.MoCo),
            about="two views: the averaged network's keys, and a queue of them",
        ),
        "byol": Entry(
            options=views.PredictorOptions,
            make=_pairs(views.BYOL),
            about="two views: predict the averaged network's embedding",
        ),
        "simsiam": Entry(
            options=views.PredictorOptions,
            make=_pairs(views.SimSiam),
            about="two views: predict the other embedding",
        ),
        "vicreg": Entry(
            options=views.VICRegOptions,
            make=_pairs(views.VICReg),
            about="two views: alike, alive, uncorrelated",
        ),
        "clip": Entry(
            options=contrast.TemperatureOptions,
            make=_pairs(views.CLIP),
            about="two modalities of one subject",
        ),
    }
)


def make_objective(
    section: ObjectiveSection | str, *, dim: int, identities: int, modality: str = "", **options: Any
) -> nn.Module:
    """Make an objective; it satisfies `verify.protocols.Objective`.

    Args:
        section: of the recipe, or a name.
        dim: embedding size.
        identities: number of classes; labels run from 0 to `identities` - 1. Pair objectives take no notice.
        modality: ``face`` or ``voice``, for objectives of other packages that treat them differently.
        options: on top of the section's.

    Raises:
        UsageError: an unknown name or option (with the nearest), or a value out of its range.
        EnvironmentProblemError: an objective of another package does not load.
    """
    name = section if isinstance(section, str) else section.name
    given = dict({} if isinstance(section, str) else section.options) | options
    if name in OBJECTIVES:
        entry = OBJECTIVES[name]
        try:
            checked: Any = build(entry.options, given, where=f"objective {name!r}")
        except UsageError as error:
            if str(error).startswith("objective "):
                raise
            msg = f"objective {name!r}, {error}"
            raise UsageError(msg) from error
        return entry.make(checked, dim=dim, identities=identities)
    return _installed(name)(dim=dim, identities=identities, modality=modality, **given)


def _installed(name: str) -> Callable[..., nn.Module]:
    from importlib.metadata import entry_points

    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise UsageError(unknown(name, {*OBJECTIVES, *points}, what="objective"))
    try:
        return cast("Callable[..., nn.Module]", points[name].load())
    except (ImportError, AttributeError) as error:
        msg = (
            f"objective {name!r}: {points[name].value} does not load ({error}); update or remove its package"
        )
        raise EnvironmentProblemError(msg) from error
