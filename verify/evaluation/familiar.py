"""Who took part in a calibration is no stranger to its thresholds: what operating points remember of their people.

A point knows its sets by two hashes: of all files, and of the split into halves, which is a fixed function of the
subjects' ids. The first is the same where the very same files are given again, the second where the same
subjects are, with more or fewer samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verify.data.splits import TEST, split_subjects
from verify.errors import UsageError
from verify.evaluation.given_split import HALVES_OF_A_SPLIT
from verify.evaluation.persons import given_split
from verify.evaluation.prepare import among

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from verify.evaluation.sources import TrialSource
    from verify.types import OperatingPoint

STRANGERS = "on these people"
FAMILIAR = "on people who took part in the calibration"
TESTERS = "on the calibration's own test subjects"
GIVEN = "given"  # what a point's set says of a split that came as a file


def is_familiar(point: OperatingPoint, source: TrialSource) -> bool:
    """Whether these very files, or these very subjects under the same name, took part in the point's calibration."""
    return any(_is_same(one, source, seed=_seed(point)) for one in _sets(point))


def whom(point: OperatingPoint, source: TrialSource, *, test_half: bool) -> str:
    """On whom the point is judged, in words."""
    if not is_familiar(point, source):
        return STRANGERS
    return TESTERS if test_half or _is_test_part([point], source) else FAMILIAR


def tested_only(points: Sequence[OperatingPoint], source: TrialSource) -> NDArray[np.bool_]:
    """(S,) bool: the source's subjects who took no part in choosing any of the thresholds, only in testing them.

    Raises:
        UsageError: these people took no part in the calibration, or the points were made with several splits.
    """
    familiar = [point for point in points if is_familiar(point, source)]
    seeds = {_seed(point) for point in familiar}
    if any(one.get("split") == GIVEN for point in familiar for one in _sets(point)):
        msg = (
            f"{source.name}: the operating points were calibrated with a split file, not with halves: give it with "
            "--split FILE --part test in place of --test-half"
        )
        raise UsageError(msg)
    if not familiar:
        msg = (
            f"{source.name}: --test-half is for the very people that calibrated the operating points, and these are "
            "others, or nothing is known of them: leave it out, everybody counts"
        )
        raise UsageError(msg)
    seed = seeds.pop()
    if seed is None or seeds:
        msg = (
            f"{source.name}: the operating points record no split, or several: which half chose no threshold cannot "
            "be told; leave --test-half out, or calibrate again"
        )
        raise UsageError(msg)
    split = split_subjects(source.subjects, name=source.name, seed=seed)
    return among(source, split, TEST)


def told(points: Sequence[OperatingPoint], source: TrialSource, *, test_half: bool) -> list[str]:
    """What a reader of the verdicts must know about where the thresholds come from, most important first."""
    sets = dict.fromkeys(str(one.get("set")) for point in points for one in _sets(point))
    if not sets:
        return []
    familiar = [point.name for point in points if is_familiar(point, source)]
    notes = []
    test_half = test_half or _is_test_part(points, source)
    if familiar and test_half:
        notes.append(
            f"{source.name} took part in the calibration of {', '.join(familiar)}; only its test half is looked at: "
            "people who chose no threshold, but the ones whose rates the operating points state already"
        )
    elif familiar:
        notes.append(
            f"THESE PEOPLE CALIBRATED THE THRESHOLDS: {source.name} took part in the calibration of "
            f"{', '.join(familiar)}, so the verdicts prove nothing for strangers; bring other people, or look at the "
            "half that chose no threshold (--test-half)"
        )
    elif source.name in sets:
        notes.append(
            f"a set called {source.name} took part in the calibration: if it holds some of these people, they are no "
            "strangers to the thresholds"
        )
    return [
        *notes,
        f"the thresholds were calibrated on {', '.join(sets)}: the verdicts speak for people outside of these sets",
    ]


def _is_test_part(points: Sequence[OperatingPoint], source: TrialSource) -> bool:
    """Whether the source is the test part of the very split file that the points of these people were made with."""
    split = given_split(source)
    if split is None or getattr(source, "part", "") != TEST:
        return False
    hashes = {one.get("split_sha256") for p in points for one in _sets(p) if one.get("set") == source.name}
    return hashes == {split.sha256}


def _sets(point: OperatingPoint) -> Iterator[dict[str, Any]]:
    sets = point.data.get("sets")
    for one in sets if isinstance(sets, list | tuple) else ():
        if isinstance(one, dict):
            yield one


def _seed(point: OperatingPoint) -> int | None:
    seed = point.data.get("seed")
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


def _is_same(one: dict[str, Any], source: TrialSource, *, seed: int | None) -> bool:
    if source.data_sha256 and one.get("data_sha256") == source.data_sha256:
        return True
    if one.get("set") != source.name or not source.subjects:
        return False
    given = given_split(source)
    if one.get("split") == GIVEN or given is not None:
        # the same name and another split: some of them may have taken part, and nobody can tell who
        same = given is not None and given.sha256 == one.get("split_sha256")
        return not same or getattr(source, "part", "") in ("", *HALVES_OF_A_SPLIT)
    if seed is None:
        return False
    split = split_subjects(source.subjects, name=source.name, seed=seed)
    return bool(one.get("split_sha256") == split.sha256)
