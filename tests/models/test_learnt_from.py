"""A card knows whom its model was trained on, and nobody else."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from verify.models.learnt_from import KEY, known_identities, marks, marks_of


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def card(*sources: dict[str, Any]) -> Any:
    return SimpleNamespace(sources=sources)


def files(people: dict[str, int]) -> list[tuple[str, str]]:
    return [(name, sha256(f"{name} {n}")) for name, count in people.items() for n in range(count)]


@given(st.dictionaries(st.text("abc", min_size=1), st.integers(1, 5), max_size=8))
def test_who_was_trained_on_is_found_by_any_file_and_nobody_else_is(people: dict[str, int]) -> None:
    known = card({"kind": "bundle"}, {KEY: list(marks(files(people)))})
    assert set(known_identities(known, files(people))) == set(people)
    for name, digest in files(people):
        assert known_identities(known, [("renamed", digest)]) == ("renamed",), name
    assert known_identities(known, [("x", sha256("a stranger's photo"))]) == ()


def test_of_too_many_files_some_of_each_identity_are_kept() -> None:
    people = {"many": 50, "few": 1, "some": 7}
    kept = marks(files(people), most=6)
    assert len(kept) == 6
    assert set(known_identities(card({KEY: kept}), files(people))) == set(people)


def test_a_file_twice_counts_once_and_order_does_not_matter() -> None:
    listed = files({"a": 3, "b": 2})
    assert marks(listed) == marks([*reversed(listed), *listed])


def test_models_that_say_nothing_know_nobody() -> None:
    assert marks_of([{"kind": "download"}]) == frozenset()
    assert known_identities(card({"kind": "download"}), files({"a": 2})) == ()
