from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from tests.evaluation.analysis.makers import Pairs, people, side_of
from verify.evaluation.analysis import strata
from verify.metrics import mated_rate, non_mated_rate
from verify.metrics.non_mated import NonMatedScores

SUBJECTS, SAMPLES = 50, 5


def data(seed=0):
    """The smaller a capture, the noisier it is."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(SUBJECTS), SAMPLES)
    size = rng.uniform(20, 200, owner.size)
    vectors = rng.standard_normal((SUBJECTS, 48))[owner]
    vectors = vectors + (40 / size)[:, None] * rng.standard_normal(vectors.shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), owner, size


VECTORS, OWNER, SIZE = data()
SIDE = side_of(VECTORS, OWNER)
SOURCE = Pairs(VECTORS, OWNER, SIZE)


@pytest.mark.parametrize("block", [1000, 10**6])
def test_each_stratum_is_what_picking_its_trials_by_hand_gives(block):
    edges = (50.0, 100.0)
    facts = strata(
        SIDE,
        source=Pairs(VECTORS, OWNER, SIZE, block=block),
        measure="size_px",
        threshold=0.3,
        edges=edges,
    )
    scores, mated, a, b, x, y = SOURCE.columns
    lower = np.minimum(SIZE[x], SIZE[y])
    for stratum in facts["strata"]:
        here = (lower >= stratum["low"]) & (lower < stratum["high"])
        assert stratum["fnmr"]["upper"] == pytest.approx(
            mated_rate(mated=scores[here & mated], subject=a[here & mated], threshold=0.3).upper
        )
        there = here & ~mated
        rate = non_mated_rate(non_mated=scores[there], subject_a=a[there], subject_b=b[there], threshold=0.3)
        assert (stratum["fmr"]["errors"], stratum["fmr"]["trials"]) == (rate.errors, rate.trials)
        assert stratum["fmr"]["upper"] == pytest.approx(rate.upper)
    trials = [stratum["fmr"]["trials"] + stratum["fnmr"]["trials"] for stratum in facts["strata"]]
    assert sum(trials) == scores.size
    ends = [stratum["low"] for stratum in facts["strata"]][1:]
    assert ends == list(edges)
    json.dumps(facts, allow_nan=False)


def test_quartiles_have_as_many_mated_pairs_each():
    facts = strata(SIDE, source=SOURCE, measure="size_px", threshold=0.3)
    counts = [stratum["fnmr"]["trials"] for stratum in facts["strata"]]
    assert len(counts) == 4
    assert counts == pytest.approx([125] * 4, abs=4)  # pairs that share their worse capture stay together
    missed = [stratum["fnmr"]["value"] for stratum in facts["strata"]]
    assert missed[0] > missed[-1]


def test_a_score_that_knows_the_quality_beats_one_constant_threshold():
    """The judged score lowers the bar for small captures, which the constant one rejects."""
    judged = Pairs(VECTORS, OWNER, SIZE, to_score=lambda scores, low: scores - np.clip(low / 400, 0, 0.3))
    scores, mated, a, b, x, y = judged.columns
    low = np.minimum(SIZE[x], SIZE[y])
    side = side_of(VECTORS, OWNER)
    made = judged.to_score(scores, low)
    side = replace(
        side,
        mated=made[mated],
        non_mated=NonMatedScores.of(made[~mated], subject_a=a[~mated], subject_b=b[~mated]),
    )
    threshold = side.non_mated.threshold_at_fmr(1e-2)
    facts = strata(side, source=judged, measure="size_px", threshold=threshold, raw=SIDE, raw_source=SOURCE)
    constant = SIDE.non_mated.threshold_at_fmr(float(side.non_mated.fmr([threshold])[0]))
    first = facts["strata"][0]
    here = mated & (low < first["high"])
    assert first["fnmr_constant"]["errors"] == np.count_nonzero(scores[here] < constant)
    assert first["fnmr_constant"]["trials"] == first["fnmr"]["trials"]
    assert first["fnmr"]["value"] < first["fnmr_constant"]["value"]


def test_one_constant_threshold_compared_with_itself_is_no_better():
    facts = strata(
        SIDE,
        source=SOURCE,
        measure="size_px",
        threshold=SIDE.non_mated.threshold_at_fmr(1e-2),
        raw=SIDE,
        raw_source=SOURCE,
    )
    assert all(one["fnmr"] == one["fnmr_constant"] for one in facts["strata"])


def test_pairs_without_the_measure_are_left_out():
    size = SIZE.copy()
    size[::2] = np.nan
    facts = strata(SIDE, source=Pairs(VECTORS, OWNER, size), measure="size_px", threshold=0.3)
    _, mated, _, _, x, y = SOURCE.columns
    known = np.isfinite(size[x]) & np.isfinite(size[y])
    assert sum(one["fnmr"]["trials"] for one in facts["strata"]) == np.count_nonzero(mated & known)
    assert sum(one["fmr"]["trials"] for one in facts["strata"]) == np.count_nonzero(~mated & known)


def test_without_the_measure_there_are_no_strata():
    assert strata(SIDE, source=SOURCE, measure="snr_db", threshold=0.3) is None
    nowhere = Pairs(VECTORS, OWNER, np.full(SIZE.size, np.nan))
    assert strata(SIDE, source=nowhere, measure="size_px", threshold=0.3) is None


def test_a_measure_that_is_always_the_same_has_one_stratum():
    same = Pairs(VECTORS, OWNER, np.full(SIZE.size, 4.0))
    facts = strata(SIDE, source=same, measure="size_px", threshold=0.3)
    assert [(one["low"] <= 4.0 < one["high"]) for one in facts["strata"]] == [True]


def test_of_too_many_trials_a_part_of_the_subjects_is_taken(monkeypatch):
    module = import_module("verify.evaluation.analysis.strata")
    monkeypatch.setattr(module, "_MAX_TRIALS", SIDE.non_mated.trials * 27 // 100)
    facts = strata(SIDE, source=SOURCE, measure="size_px", threshold=0.3)
    assert sum(one["fmr"]["trials"] for one in facts["strata"]) == 25 * 24 // 2 * SAMPLES**2
    assert sum(one["fnmr"]["trials"] for one in facts["strata"]) == SIDE.mated.size


def test_people_with_one_sample_have_no_strata():
    vectors, owner = people(20, 1)
    assert (
        strata(
            side_of(vectors, owner),
            source=Pairs(vectors, owner, np.ones(20)),
            measure="size_px",
            threshold=0.3,
        )
        is None
    )
