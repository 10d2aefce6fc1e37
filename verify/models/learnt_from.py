"""Whom a model was trained on, kept on its card as hashes of files, so that they are recognised later.

A threshold that is chosen or measured on people whom the model was trained on promises too much: to a trained
network they are no strangers. The card therefore keeps the first half of the sha256 of training files; nobody
can be read out of them, and who holds the same file finds it. Of very many files it keeps some of each identity,
the smallest hashes: a folder that holds an identity's files holds those.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from verify.models.card import Card

KEY = "learnt_from"
MOST = 20_000  # marks on a card: 400 kB
LENGTH = 16  # hex digits: among 10^9 files a false hit has a chance of 1e-6


def marks(files: Iterable[tuple[object, str]], *, most: int = MOST) -> tuple[str, ...]:
    """What a card keeps of training files, ascending.

    Args:
        files: (identity, sha256 of the file in hex) of each.
        most: how many are kept: the first of each identity, then the second of each, and so on.
    """
    by_identity: defaultdict[object, list[str]] = defaultdict(list)
    for identity, sha256 in files:
        by_identity[identity].append(sha256[:LENGTH])
    turns = sorted(
        (turn, mark) for theirs in by_identity.values() for turn, mark in enumerate(sorted(set(theirs)))
    )
    return tuple(sorted({mark for _, mark in turns[:most]}))


def marks_of(sources: Iterable[Mapping[str, object]]) -> frozenset[str]:
    """All marks on a card, from its sources; none for models that say nothing."""
    kept: set[str] = set()
    for source in sources:
        found = source.get(KEY, ())
        if isinstance(found, (list, tuple)):
            kept.update(map(str, found))
    return frozenset(kept)


def known_identities(card: Card, files: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Which identities the model was trained on, ascending: those with a file that its card has a mark of.

    Args:
        card: of the model.
        files: (identity, sha256 of the file in hex) of each.
    """
    kept = marks_of(card.sources)
    if not kept:
        return ()
    return tuple(sorted({identity for identity, sha256 in files if sha256[:LENGTH] in kept}))
