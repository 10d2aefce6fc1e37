"""Several models that decide together, and the ladder of every subset of them that may decide alone.

Face and voice may stand in for each other: where one of them is missing, the other decides by an operating point
of its own that holds the same target. Which subset decides is settled before any score is seen, and each
subset holds the target by itself, so whoever makes one part fail is let in by mistake no more often than the
target says. Several encoders of one modality are one capture: if one of them fails, all have failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from verify.engine.evidence import Cohorts
from verify.engine.ladder import claim
from verify.engine.outcomes import Model
from verify.engine.thresholds import Judge, Ruling
from verify.errors import ModelMismatchError, UsageError
from verify.metrics.evidence import fusion_id
from verify.score_space import FusionPart, LlrMap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from verify.capture import Capturer
    from verify.types import Modality, OperatingPoint

    Subset = frozenset[str]  # of model_ids


@dataclass(frozen=True, slots=True)
class Wanted:
    """What every decision must hold; see `verify.engine.thresholds.Judge`.

    Attributes:
        everyone: whether all modalities must take part: then nothing stands in for anything.
    """

    target_fmr: float | None = None
    target_far: float | None = None
    point: str | None = None
    attempts: int = 1
    allow_extrapolated: bool = False
    everyone: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """A ruling, and where the cohorts lie that its point may need."""

    ruling: Ruling
    cohorts: Cohorts
    model: Model


class Panel:
    """The models of a fusion, and who may decide at which threshold.

    Args:
        capturers: one a model, two or more.
        points: operating points of the fusion, and maybe of single models; what is not given for a single
            model is taken from its bundle.
        cohorts: folder of the cohorts that `points` name.
        wanted: what every decision must hold.

    Raises:
        UsageError: fewer than two models, one twice, or what `Judge` raises.
        ModelMismatchError: a point of a model that is not here, or a fusion that contradicts itself.
    """

    def __init__(
        self,
        capturers: Sequence[Capturer],
        points: Sequence[OperatingPoint],
        *,
        cohorts: Path | str | None = None,
        wanted: Wanted,
    ) -> None:
        ids = [capturer.model_id for capturer in capturers]
        if len(ids) < 2 or len(set(ids)) != len(ids):  # noqa: PLR2004
            msg = f"a fusion needs two models or more, each once, not {len(ids)} with {len(set(ids))} different ones"
            raise UsageError(msg)
        self.capturers = {capturer.model_id: capturer for capturer in capturers}
        self.everyone: Subset = frozenset(ids)
        self.modalities = tuple(dict.fromkeys(capturer.modality for capturer in capturers))
        self._cohorts = Cohorts(cohorts)
        self._wanted = wanted
        self._points = _by_subset(points, self.capturers)
        whole = self._points.get(self.everyone, [])
        model_id = whole[0].model_id if whole else _usual_id(capturers)
        self.model = Model(capturers[0].modality, model_id)
        self._judge = Judge(
            model_id,
            whole,
            target_fmr=wanted.target_fmr,
            target_far=wanted.target_far,
            point=wanted.point,
            attempts=wanted.attempts,
            allow_extrapolated=wanted.allow_extrapolated,
        )

    def members(self, modality: Modality) -> tuple[str, ...]:
        """The models of one modality."""
        return tuple(model_id for model_id, one in self.capturers.items() if one.modality is modality)

    def bar(self, subset: Subset) -> Bar:
        """The threshold by which some of the models decide; without one where no point supports the target."""
        if subset == self.everyone:
            ruling = self._judge.one_to_one()
            if subset not in self._points:
                ruling = Ruling(None, None, _no_fused_point(self.capturers.values()), calibrated=True)
            return Bar(ruling, self._cohorts, self.model)
        if self._wanted.everyone:
            ruling = Ruling(None, None, "all of them must take part, as asked", calibrated=True)
            return Bar(ruling, self._cohorts, self.model)
        points, cohorts = self._of(subset)
        first = next(one for model_id, one in self.capturers.items() if model_id in subset)
        model_id = points[0].model_id if points else first.model_id
        far = self._wanted.target_far
        judge = Judge(
            model_id,
            points,
            target_fmr=self._target() if far is None else None,
            target_far=far,
            attempts=self._wanted.attempts,
            allow_extrapolated=self._wanted.allow_extrapolated,
        )
        return Bar(judge.one_to_one(), cohorts, Model(first.modality, model_id))

    def in_cosine(self, model_id: str) -> Ruling:
        """The raw cosine threshold by which enrolment checks one model's templates against each other."""
        points, _ = self._of(frozenset((model_id,)))
        return Judge(model_id, points, target_fmr=self._target()).in_cosine()

    def _of(self, subset: Subset) -> tuple[Sequence[OperatingPoint], Cohorts]:
        """The points given for a subset, else those of the bundle of a single model."""
        if subset in self._points or len(subset) > 1:
            return self._points.get(subset, []), self._cohorts
        bundle = self.capturers[next(iter(subset))].bundle
        return bundle.operating_points(), Cohorts(bundle.path)

    def _target(self) -> float:
        """The FMR that the whole holds, to be held by every subset."""
        named = self._judge.one_to_one().point if self._wanted.point is not None else None
        held = self._judge.target_fmr if named is None else claim(named, attempts=self._wanted.attempts)
        return held if self._wanted.target_far is None else self._wanted.target_far


def _usual_id(capturers: Sequence[Capturer]) -> str:
    """The model_id of the fusion of these models in this order, whatever its weights."""
    unknown = LlrMap(slope=1.0, intercept=0.0)
    return fusion_id([FusionPart(one.model_id, one.modality, 1.0, unknown) for one in capturers])


def _by_subset(
    points: Sequence[OperatingPoint], capturers: Mapping[str, Capturer]
) -> dict[Subset, list[OperatingPoint]]:
    found: dict[Subset, list[OperatingPoint]] = {}
    for point in points:
        parts = () if point.fusion is None else point.fusion.parts
        subset = frozenset(part.model_id for part in parts) or frozenset((point.model_id,))
        strangers = sorted(model_id[:12] for model_id in subset if model_id not in capturers)
        if strangers:
            msg = (
                f"operating point {point.name!r} holds for model {', '.join(strangers)}, which is not among the models "
                f"in use ({', '.join(model_id[:12] for model_id in capturers)}): calibrate with the models in use"
            )
            raise ModelMismatchError(msg)
        if point.fusion is not None:
            _check_fusion(point, capturers)
        same = found.setdefault(subset, [])
        if same and same[0].model_id != point.model_id:
            msg = (
                f"operating points {same[0].name!r} and {point.name!r} hold for the same models in another order: "
                "keep one order"
            )
            raise ModelMismatchError(msg)
        same.append(point)
    return found


def _check_fusion(point: OperatingPoint, capturers: Mapping[str, Capturer]) -> None:
    """A recipe that is at odds with its own point would be judged by a threshold that is not its own."""
    parts = () if point.fusion is None else point.fusion.parts
    problems = [
        f"the modality of {p.model_id[:12]}" for p in parts if p.modality != capturers[p.model_id].modality
    ]
    problems += [f"the weight of {p.model_id[:12]}" for p in parts if not 0.0 <= p.weight < math.inf]
    if point.model_id != fusion_id(parts):
        problems.append("its model_id, which is not that of its parts")
    if problems:
        msg = f"operating point {point.name!r}: the fusion contradicts itself in {', '.join(problems)}: calibrate again"
        raise ModelMismatchError(msg)


def _no_fused_point(capturers: object) -> str:
    names = "+".join(getattr(one.bundle, "name", one.model_id[:12]) for one in capturers)  # type: ignore[attr-defined]
    return (
        f"no operating point for {names} together: run `verify calibrate --model {names}` on your own data and give "
        "its file with --operating-points"
    )
