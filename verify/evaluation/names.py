"""Numbers for names, and labels for numbers, met batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_UNKNOWN, _SEVERAL = -1, -2


class Names:
    """Names in the order in which they came, each with its place as number."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def numbers(self, names: Sequence[str]) -> NDArray[np.int32]:
        """(n,) int32 number of each name; new names get the next numbers."""
        places = self._places
        found = list(map(places.get, names))
        if None in found:
            found = [places.setdefault(name, len(places)) for name in names]
        return np.array(found, dtype=np.int32)

    def all(self) -> tuple[str, ...]:
        """Every name, by number."""
        return tuple(self._places)


class Labels:
    """One label a subject; a subject with several has none, because a group is of people."""

    def __init__(self) -> None:
        self.names = Names()
        self._of = np.full(1024, _UNKNOWN, dtype=np.int32)

    def add(self, subjects: NDArray[np.int32], labels: NDArray[np.int32]) -> None:
        """Labels met: (n,) subject numbers and numbers in `names`, -1 where the label is empty."""
        given = labels >= 0
        subjects, labels = subjects[given], labels[given]
        if not subjects.size:
            return
        self._grow(int(subjects.max()) + 1)
        fresh = self._of[subjects] == _UNKNOWN
        self._of[subjects[fresh]] = labels[fresh]
        known = self._of[subjects]
        self._of[subjects[(known != labels) & (known != _SEVERAL)]] = _SEVERAL

    def of(self, subjects: int) -> tuple[str, ...]:
        """The label of each of so many subjects; ``""`` where there is none, or several."""
        self._grow(subjects)
        names = (*self.names.all(), "", "")  # -1 and -2 are the last two
        return tuple(names[place] for place in self._of[:subjects].tolist())

    def ambiguous(self) -> NDArray[np.intp]:
        """The subjects that had several labels."""
        return np.flatnonzero(self._of == _SEVERAL)

    def _grow(self, size: int) -> None:
        if size > self._of.size:
            more = np.full(max(size, 2 * self._of.size) - self._of.size, _UNKNOWN, dtype=np.int32)
            self._of = np.concatenate([self._of, more])


class Attempts:
    """Samples met, each a subject's sample of that name; two subjects may call theirs the same."""

    def __init__(self) -> None:
        self.names = Names()
        self._number: dict[int, int] = {}  # subject << 32 | name -> attempt
        self._latest = np.full(1024, -1, dtype=np.int32)  # name -> its attempt, right for unique names
        self._keys = np.empty(1024, dtype=np.int64)  # attempt -> subject << 32 | name

    def __len__(self) -> int:
        return len(self._number)

    def numbers(self, subjects: NDArray[np.int32], names: NDArray[np.int32]) -> NDArray[np.int32]:
        """(n,) int32 attempt of each subject and number in `names`."""
        if not names.size:
            return np.empty(0, dtype=np.int32)
        if int(names.max()) >= self._latest.size:
            more = np.full(
                max(len(self.names), 2 * self._latest.size) - self._latest.size, -1, dtype=np.int32
            )
            self._latest = np.concatenate([self._latest, more])
        keys = (subjects.astype(np.int64) << 32) | names
        found = self._latest[names]
        wrong = np.flatnonzero((found < 0) | (self._keys[found] != keys))
        if wrong.size:
            distinct, inverse = np.unique(keys[wrong], return_inverse=True)
            before = len(self._number)
            places = np.array(
                [self._number.setdefault(key, len(self._number)) for key in distinct.tolist()], dtype=np.int32
            )
            self._keep(distinct[places >= before], start=before)
            found[wrong] = places[inverse]
            self._latest[names[wrong]] = found[wrong]
        return found

    def pairs(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The subject and the number in `names` of each attempt."""
        keys = self._keys[: len(self._number)]
        return (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32)

    def _keep(self, keys: NDArray[np.int64], *, start: int) -> None:
        """Keys of the attempts from `start` on: sorted keys are numbered in their order."""
        end = start + keys.size
        if end > self._keys.size:
            self._keys = np.concatenate([self._keys, np.empty(max(end, self._keys.size), dtype=np.int64)])
        self._keys[start:end] = keys
