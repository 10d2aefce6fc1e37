"""Any history of enrolments, deletions, reopenings and searches, against a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.gallery.makers import MODEL, enrol, unit
from verify.errors import EnrolmentRefusedError, UnknownSubjectError
from verify.gallery import SqliteGallery
from verify.gallery.check import check_gallery
from verify.gallery.vectors import exact_cosines

CAP = 3
NAMES = st.sampled_from(["ann", "bob", "../c", "d'", "é"])
SEEDS = st.integers(0, 30)


class GalleryMachine(RuleBasedStateMachine):
    """Two objects on one file, as two processes would have; each step goes through one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.galleries = [self.opened(), self.opened()]
        self.kept: dict[str, list[np.ndarray]] = {}
        self.keys: dict[str, tuple[str, int]] = {}

    def opened(self):
        return SqliteGallery(self.folder / "gallery.db", max_templates=CAP)

    @rule(who=st.integers(0, 1), name=NAMES, seeds=st.lists(SEEDS, min_size=1, max_size=2))
    def adds(self, who, name, seeds):
        vectors = [unit(seed) for seed in seeds]
        if len(self.kept.get(name, [])) + len(vectors) > CAP:
            with pytest.raises(EnrolmentRefusedError):
                enrol(self.galleries[who], name, *vectors)
            return
        enrol(self.galleries[who], name, *vectors)
        self.kept.setdefault(name, []).extend(vectors)

    @rule(who=st.integers(0, 1), name=NAMES, seed=SEEDS)
    def adds_with_a_key_and_retries(self, who, name, seed):
        key = f"{name} {seed}"
        if key not in self.keys and len(self.kept.get(name, [])) == CAP:
            return
        stored = enrol(self.galleries[who], name, unit(seed), key=key, sha256=str(seed))
        assert enrol(self.galleries[1 - who], name, unit(seed), key=key, sha256=str(seed)) == stored
        if key not in self.keys:
            self.kept.setdefault(name, []).append(unit(seed))
        assert self.keys.setdefault(key, (name, stored[0].template_id))[1] == stored[0].template_id

    @rule(who=st.integers(0, 1), name=NAMES)
    def deletes(self, who, name):
        if name not in self.kept:
            with pytest.raises(UnknownSubjectError):
                self.galleries[who].delete(name)
            return
        assert self.galleries[who].delete(name) == len(self.kept.pop(name))
        self.keys = {key: value for key, value in self.keys.items() if value[0] != name}

    @rule(who=st.integers(0, 1))
    def reopens(self, who):
        self.galleries[who].close()
        self.galleries[who] = self.opened()

    @rule(who=st.integers(0, 1), seed=SEEDS, top_k=st.integers(1, 6))
    def searches(self, who, seed, top_k):
        best = {name: float(exact_cosines(np.stack(v), unit(seed)).max()) for name, v in self.kept.items()}
        expected = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:top_k]
        found = self.galleries[who].search(unit(seed), model_id=MODEL, top_k=top_k)
        assert [(c.subject_id, c.score) for c in found] == expected

    @precondition(lambda self: self.kept)
    @rule(who=st.integers(0, 1))
    def checks(self, who):
        assert check_gallery(self.galleries[who]).problems == ()

    @invariant()
    def holds_what_was_acknowledged(self):
        for gallery in self.galleries:
            assert gallery.subjects() == tuple(sorted(self.kept))
            assert gallery.count(model_id=MODEL) == len(self.kept)
        for name, vectors in self.kept.items():
            np.testing.assert_array_equal(gallery.templates(name, model_id=MODEL), np.stack(vectors))

    def teardown(self):
        for gallery in self.galleries:
            gallery.close()
        shutil.rmtree(self.folder)


TestGallery = GalleryMachine.TestCase
TestGallery.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
