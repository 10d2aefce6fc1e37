"""From rows of a score file to trials: every row checked, names numbered, the rest counted in passing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verify.data.subjects import check_subject_id, folded_subject, near_equal_subjects
from verify.errors import ManifestError, ScoreError
from verify.evaluation.names import Attempts, Labels, Names
from verify.evaluation.score_checks import Repeats, SampleOfScores
from verify.evaluation.score_columns import MATED_WORDS, SAMPLES
from verify.evaluation.score_rows import BadNumberError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    from verify.evaluation.score_bytes import Place
    from verify.evaluation.score_columns import LabelColumns, Plan
    from verify.evaluation.score_rows import Rows, Texts

MAX_NAMES = 5_000_000  # subjects, and samples: a gigabyte of names
MAX_LABELS = 1000
_NAMED = 5


def record_type(plan: Plan) -> np.dtype[Any]:
    """What is kept of a trial: 16 bytes, 8 more with samples, 16 more for each measure."""
    fields = [("score", "<f8"), ("a", "<i4"), ("b", "<i4")]
    if plan.samples:
        fields += [("x", "<i4"), ("y", "<i4")]
    for place in range(len(plan.measures)):
        fields += [(f"m{place}a", "<f8"), (f"m{place}b", "<f8")]
    return np.dtype(fields)


class Intake:
    """Takes rows, gives records, and remembers what there was to see.

    Args:
        plan: what the columns mean.
        place: the file, for messages.
        distances: lower scores are more alike; they are negated.
        seed: of the sample by which the direction of scores is judged.
    """

    def __init__(self, plan: Plan, *, place: Place, distances: bool, seed: int) -> None:
        self.plan = plan
        self.place = place
        self.sign = -1.0 if distances else 1.0
        self.rows = self.with_itself = self.mated = self.non_mated = 0
        self.subjects = Names()
        self.attempts = Attempts()
        self.labels = {one.name: Labels() for one in plan.labels}
        self.samples_of = {True: SampleOfScores(seed=seed), False: SampleOfScores(seed=seed + 1)}
        self.repeats = Repeats()
        self.lowest, self.highest = np.inf, -np.inf
        self._dtype = record_type(plan)

    def take(self, rows: Rows) -> tuple[NDArray[Any], NDArray[Any]]:
        """The mated and the non-mated records of a batch.

        Raises:
            ScoreError: a row that cannot be; names it and its column.
        """
        score = self._scores(rows)
        mated = self._mated(rows.texts("mated"))
        texts = {side: rows.texts(f"subject_{side}") for side in "ab"}
        a, b = (self._subjects(texts[side], column=f"subject_{side}") for side in "ab")
        self._agree(mated, a, b)
        records = np.empty(rows.size, dtype=self._dtype)
        records["score"], records["a"], records["b"] = score, a, b
        for place, one in enumerate(self.plan.measures):
            records[f"m{place}a"] = self._measure(rows, one.a)
            records[f"m{place}b"] = self._measure(rows, one.b)
        for columns in tuple(self.plan.labels):
            if columns.name in self.labels:
                self._label(rows, columns, a=a, b=b)
        keep = np.ones(rows.size, dtype=np.bool_)
        if self.plan.samples:
            records["x"], records["y"] = self._sample(rows, "a", a), self._sample(rows, "b", b)
            keep = records["x"] != records["y"]
            self.with_itself += int(keep.size - np.count_nonzero(keep))
            self.repeats.add(records["x"][keep], records["y"][keep])
        else:
            self.repeats.add(a, b, score)
        self.rows += rows.size
        chosen = records[mated & keep], records[~mated & keep]
        self._remember(*chosen)
        return chosen

    def warnings(self) -> Iterator[str]:
        """What a person should look at."""
        yield from self.plan.warnings
        near = list(near_equal_subjects(self.subjects.all()))
        yield from near[:_NAMED]
        if len(near) > _NAMED:
            yield f"and {len(near) - _NAMED} more such subjects"
        for column, labels in self.labels.items():
            several = labels.ambiguous()
            if several.size:
                names = self.subjects.all()
                shown = ", ".join(names[place] for place in several[:_NAMED])
                more = ", ..." if several.size > _NAMED else ""
                way_out = ""
                if any(one.name == column and one.a == one.b for one in self.plan.labels):
                    way_out = f"; it labels both sides of a trial: where these differ, give {column}_a and {column}_b"
                yield (
                    f"{several.size} subjects have several labels in {column!r} ({shown}{more}): "
                    f"they are in none of its groups{way_out}"
                )
        if self.with_itself:
            yield f"{self.with_itself} trials of a sample with itself, which prove nothing: left out"
        if self.plan.samples and (count := self.repeats.count()):
            yield f"about {count} trials compare two samples that another trial compares: they count twice"
        elif not self.plan.samples and self.samples_of[False].fine and (count := self.repeats.count()):
            yield (
                f"about {count} trials have subjects and score of another trial to the last digit: "
                "if they are that trial again, it counts twice"
            )

    def _scores(self, rows: Rows) -> NDArray[np.float64]:
        try:
            scores = rows.numbers("score")
        except BadNumberError as error:
            raise self._at(error.row, "score", f"is {error.cell!r}, not a number") from error
        bad = np.flatnonzero(~np.isfinite(scores))
        if bad.size:
            row = int(bad[0])
            texts = rows.texts("score")
            cell = texts.values[texts.codes[row]]
            what = f"is {cell!r}, not a finite number" if cell.strip() else "is empty"
            raise self._at(row, "score", f"{what}; leave failed comparisons out of the file")
        return scores * self.sign + 0.0

    def _mated(self, texts: Texts) -> NDArray[np.bool_]:
        known = [MATED_WORDS.get(word.strip().lower()) for word in texts.values]
        if None in known:
            wrong = np.array([one is None for one in known])[texts.codes]
            row = int(np.argmax(wrong))
            word = texts.values[texts.codes[row]]
            raise self._at(row, "mated", f"is {word!r}, not 1/0, true/false or yes/no")
        return np.array(known, dtype=np.bool_)[texts.codes]

    def _subjects(self, texts: Texts, *, column: str) -> NDArray[np.int32]:
        before = len(self.subjects)
        numbers = self.subjects.numbers(texts.values)
        for place in np.flatnonzero(numbers >= before).tolist():
            try:
                check_subject_id(texts.values[place], where="")
            except ManifestError as error:
                row = int(np.argmax(texts.codes == place))
                raise self._at(row, column, str(error).removeprefix(": ")) from error
        if len(self.subjects) > MAX_NAMES:
            msg = (
                f"{self.place.path}: more than {MAX_NAMES:,} subjects by row {self.rows + 1}: "
                "are subject_a and subject_b names of trials or files?"
            )
            raise ScoreError(msg)
        return numbers[texts.codes]

    def _agree(self, mated: NDArray[np.bool_], a: NDArray[np.int32], b: NDArray[np.int32]) -> None:
        wrong = np.flatnonzero((a == b) != mated)
        if not wrong.size:
            return
        row = int(wrong[0])
        names = self.subjects.all()
        first, second = names[a[row]], names[b[row]]
        if mated[row]:
            what = f"says mated, but the subjects are {first!r} and {second!r}"
            if folded_subject(first) == folded_subject(second):
                what += ": one subject in two spellings?"
        else:
            what = f"says non-mated, but both subjects are {first!r}"
        more = f" ({wrong.size} such rows from here on in this part of the file)" if wrong.size > 1 else ""
        raise self._at(row, "mated", what + more)

    def _measure(self, rows: Rows, column: str) -> NDArray[np.float64]:
        try:
            values = rows.numbers(column)
        except BadNumberError as error:
            problem = (
                f"is {error.cell!r}, not a number as above; if these are labels, name the column as a group"
            )
            raise self._at(error.row, column, problem) from error
        infinite = np.flatnonzero(np.isinf(values))
        if infinite.size:
            raise self._at(int(infinite[0]), column, "is infinite; leave it empty where there is no measure")
        return values

    def _label(
        self, rows: Rows, columns: LabelColumns, *, a: NDArray[np.int32], b: NDArray[np.int32]
    ) -> None:
        labels = self.labels[columns.name]
        for column, subjects in ((columns.a, a), (columns.b, b)):
            if column is None:
                continue
            texts = rows.texts(column)
            values = [value.strip() for value in texts.values]
            numbers = labels.names.numbers([value for value in values if value])
            every = np.full(len(values), -1, dtype=np.int32)
            every[np.array([bool(value) for value in values], dtype=np.bool_)] = numbers
            labels.add(subjects, every[texts.codes])
        if len(labels.names) > MAX_LABELS:
            del self.labels[columns.name]
            self.plan = self.plan.without_group(
                columns.name,
                f"{columns.a or columns.b!r} has more than {MAX_LABELS} different labels: no group, not used "
                f"(the names of samples belong into {SAMPLES[0]} and {SAMPLES[1]})",
            )

    def _sample(self, rows: Rows, side: str, subjects: NDArray[np.int32]) -> NDArray[np.int32]:
        column = f"sample_{side}"
        texts = rows.texts(column)
        if "" in texts.values:
            empty = texts.codes == list(texts.values).index("")
            if empty.any():
                raise self._at(int(np.argmax(empty)), column, "is empty")
        names = self.attempts.names.numbers(texts.values)[texts.codes]
        found = self.attempts.numbers(subjects, names)
        if len(self.attempts) > MAX_NAMES:
            msg = (
                f"{self.place.path}: more than {MAX_NAMES:,} samples by row {self.rows + 1}: "
                "leave the columns sample_a and sample_b out"
            )
            raise ScoreError(msg)
        return found

    def _remember(self, mated: NDArray[Any], non_mated: NDArray[Any]) -> None:
        for is_mated, records in ((True, mated), (False, non_mated)):
            scores = records["score"]
            if scores.size:
                self.samples_of[is_mated].add(scores)
                self.lowest = min(self.lowest, float(scores.min()))
                self.highest = max(self.highest, float(scores.max()))
        self.mated += mated.size
        self.non_mated += non_mated.size

    def _at(self, row: int, column: str, problem: str) -> ScoreError:
        return ScoreError(f"{self.place.row(self.rows + row)}: {column} {problem}")
