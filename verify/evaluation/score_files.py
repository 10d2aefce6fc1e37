"""Trials from a score file: any matcher's scores, with no model at all.

CSV (plain or packed with gzip) or Parquet, one trial a row:

    score,mated,subject_a,subject_b[,sample_a,sample_b][,group...][,measure_a,measure_b...]

``mated`` is 1/0, true/false or yes/no and must agree with the subjects. A text column ``X`` labels
both sides, ``X_a`` and ``X_b`` label one side each; number columns ``M_a`` and ``M_b`` are a quality
measure of the two sides. A subject with several labels in a group is in none of its groups.

The file is read once, checked row by row, and kept as compact records of 16 bytes and more on the
temporary disk (in memory while it is small), because calibration goes through all trials several
times and parsing text costs ten times as much as reading records. 10^8 trials take 1.6 GB there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from verify.errors import ScoreError, UsageError
from verify.evaluation.score_arrow import arrow_csv_rows, arrow_is_there, open_parquet
from verify.evaluation.score_bytes import HashedFile, Packing, header_and_sample, look_at, opened
from verify.evaluation.score_columns import numeric_columns, plan_columns
from verify.evaluation.score_intake import Intake, record_type
from verify.evaluation.score_rows import csv_rows
from verify.evaluation.sources import Attempt, TrialBlock
from verify.evaluation.spool import Spool, check_room, in_words

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from verify.evaluation.score_bytes import Place
    from verify.evaluation.score_rows import Rows


@dataclass(slots=True, eq=False)
class ScoreFileSource:
    """The trials of a score file; a `verify.evaluation.sources.TrialSource`.

    Attributes:
        trials: number of trials kept.
        mated_trials: how many of them are mated.
    """

    name: str
    kind: str
    data_sha256: str
    subjects: tuple[str, ...] = field(repr=False)
    groups: Mapping[str, tuple[str, ...]] = field(repr=False)
    attempts: tuple[Attempt, ...] = field(repr=False)
    measures: tuple[str, ...]
    model_id: str | None
    copies: int
    conflicts: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]
    trials: int
    mated_trials: int
    _spools: Mapping[bool, Spool] = field(repr=False)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        seed: int = 0,
        quality: Sequence[str] = (),
        groups: Sequence[str] = (),
        distances: bool = False,
        folder: str | os.PathLike[str] | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
        use_arrow: bool | None = None,
    ) -> ScoreFileSource:
        """Read a score file.

        Args:
            path: CSV, CSV packed with gzip, or Parquet; told apart by the first bytes.
            seed: of the sample of scores by which their direction is judged.
            quality: keep these measures only, and insist on them; without, every one is kept.
            groups: take these columns as groups though they hold numbers.
            distances: scores are distances: lower is more alike. They are negated.
            folder: for temporary records; None takes the system's (TMPDIR).
            progress: told (bytes done, bytes in all) now and then.
            use_arrow: whether pyarrow reads CSV; None: if it is installed. The result is the same.

        Raises:
            ScoreError: no score file, or a row that cannot be; names the line and column.
            UsageError: a measure or group was asked for that is not there.
            MissingExtraError: Parquet without pyarrow.
            StorageError: no room for the temporary records; said before the disk fills.
        """
        place = look_at(Path(path))
        before = place.path.stat()
        intake, spools, sha256 = _read(
            place,
            seed=seed,
            quality=quality,
            groups=groups,
            distances=distances,
            folder=folder,
            progress=progress,
            use_arrow=arrow_is_there() if use_arrow is None else use_arrow,
        )
        after = place.path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            msg = f"{place.path}: was changed while it was read; read it again when it is finished"
            raise ScoreError(msg)
        _check_whole(intake, distances=distances)
        count = len(intake.subjects)
        return cls(
            name=_name(place.path),
            kind="score file",
            data_sha256=sha256,
            subjects=intake.subjects.all(),
            groups={column: labels.of(count) for column, labels in intake.labels.items()},
            attempts=_attempts(intake),
            measures=tuple(one.name for one in intake.plan.measures),
            model_id=None,
            copies=0,
            conflicts=(),
            warnings=tuple(intake.warnings()),
            trials=intake.mated + intake.non_mated,
            mated_trials=intake.mated,
            _spools=spools,
        )

    def blocks(
        self, among: NDArray[np.bool_], *, measures: Sequence[str] = (), mated_only: bool = False
    ) -> Iterator[TrialBlock]:
        """The trials both of whose subjects are marked in `among` (S,), mated ones first.

        Raises:
            UsageError: a measure that the file does not have.
        """
        places = {}
        for name in measures:
            if name not in self.measures:
                there = ", ".join(self.measures) or "none"
                msg = f"{self.name}: no quality measure {name!r} (there is: {there})"
                raise UsageError(msg)
            places[name] = self.measures.index(name)
        for mated in (True,) if mated_only else (True, False):
            for records in self._spools[mated].read():
                chosen = records[among[records["a"]] & among[records["b"]]]
                if chosen.size:
                    yield _block(chosen, mated=mated, places=places)

    def crossing(self, among: NDArray[np.bool_]) -> int:
        """How many trials have one subject marked and one not."""
        return sum(
            int(np.count_nonzero(among[records["a"]] != among[records["b"]]))
            for records in self._spools[False].read()
        )


def _block(records: NDArray[Any], *, mated: bool, places: Mapping[str, int]) -> TrialBlock:
    has_samples = "x" in (records.dtype.names or ())
    nowhere = np.full(records.size, -1, dtype=np.int32)
    return TrialBlock(
        score=np.ascontiguousarray(records["score"]),
        mated=np.full(records.size, mated, dtype=np.bool_),
        subject_a=np.ascontiguousarray(records["a"]),
        subject_b=np.ascontiguousarray(records["b"]),
        attempt_a=np.ascontiguousarray(records["x"]) if has_samples else nowhere,
        attempt_b=np.ascontiguousarray(records["y"]) if has_samples else nowhere,
        quality={
            name: (np.ascontiguousarray(records[f"m{place}a"]), np.ascontiguousarray(records[f"m{place}b"]))
            for name, place in places.items()
        },
    )


def _read(
    place: Place,
    *,
    seed: int,
    quality: Sequence[str],
    groups: Sequence[str],
    distances: bool,
    folder: str | os.PathLike[str] | None,
    progress: Callable[[int, int], None],
    use_arrow: bool,
) -> tuple[Intake, Mapping[bool, Spool], str]:
    """Everything in the file, once."""
    size = place.path.stat().st_size

    def begin(header: Sequence[str], numeric: frozenset[str]) -> Intake:
        plan = plan_columns(header, numeric=numeric, path=place.path, quality=quality, groups=groups)
        return Intake(plan, place=place, distances=distances, seed=seed)

    def fill(
        intake: Intake, batches: Iterable[Rows], share_done: Callable[[], float]
    ) -> Mapping[bool, Spool]:
        spools = {mated: Spool(record_type(intake.plan), folder=folder) for mated in (True, False)}
        for rows in batches:
            for mated, records in zip((True, False), intake.take(rows), strict=True):
                spools[mated].append(records)
            share = max(share_done(), 1e-9)
            total = intake.rows / share
            check_room(
                int((total - intake.rows) * spools[True].dtype.itemsize),
                folder=spools[True].folder,
                what=f"{place.path} ({in_words(size)}, about {total:,.0f} trials)",
            )
            progress(min(size, int(share * size)), size)
        return spools

    if place.packing is Packing.PARQUET:
        table = open_parquet(place)
        with table.file:
            intake = begin(table.header, table.numeric)
            spools = fill(intake, table.rows(intake.plan.columns), lambda: intake.rows / table.total)
        with HashedFile(place.path) as raw:
            return intake, spools, raw.drain()
    with opened(place) as (raw, text):
        header, sample = header_and_sample(text, path=place.path)
        intake = begin(header, numeric_columns(header, sample))
        if use_arrow:
            batches = arrow_csv_rows(text, place=place, header=header, numbers=intake.plan.numbers)
        else:
            batches = csv_rows(text, place=place, header=header)
        spools = fill(intake, batches, lambda: raw.done / size)
        return intake, spools, raw.drain()


def _check_whole(intake: Intake, *, distances: bool) -> None:
    """What only the whole file can tell.

    Raises:
        ScoreError: one subject, one class, one score, or scores that point the wrong way.
    """
    path = intake.place.path
    if not intake.rows:
        msg = f"{path}: has a header and no trials"
        raise ScoreError(msg)
    if len(intake.subjects) == 1:
        msg = f"{path}: all trials are of one subject, {intake.subjects.all()[0]!r}: a false match takes two"
        raise ScoreError(msg)
    for count, kind, rate in ((intake.mated, "mated", "FNMR"), (intake.non_mated, "non-mated", "FMR")):
        if not count:
            msg = f"{path}: none of {intake.rows} trials is {kind}, so no {rate} can be told"
            raise ScoreError(msg)
    if intake.lowest == intake.highest:
        msg = f"{path}: all scores are {intake.lowest * intake.sign + 0.0:g}: they tell nobody apart"
        raise ScoreError(msg)
    mated, non_mated = (intake.samples_of[is_mated].median for is_mated in (True, False))
    if mated < non_mated:
        way_out = (
            "they are scores after all: leave --distances out"
            if distances
            else "for distances, give --distances"
        )
        msg = (
            f"{path}: mated trials are less alike than non-mated ones (median {intake.sign * mated:g} against "
            f"{intake.sign * non_mated:g}), and a higher score must mean more alike; {way_out}"
        )
        if distances:
            msg = msg.replace(
                "a higher score must mean more alike", "a smaller distance must mean more alike"
            )
        raise ScoreError(msg)


def _attempts(intake: Intake) -> tuple[Attempt, ...]:
    subjects, places = intake.attempts.pairs()
    names = intake.attempts.names.all()
    return tuple(
        Attempt(subject=subject, name=names[place])
        for subject, place in zip(subjects.tolist(), places.tolist(), strict=True)
    )


def _name(path: Path) -> str:
    """The file's name without ``.csv``, ``.csv.gz`` or ``.parquet``."""
    name = path.resolve().name
    for suffix in (".gz", ".csv", ".parquet", ".pq"):
        name = name.removesuffix(suffix)
    return name or path.name
