"""The promise on people never seen: how often a threshold chosen on half of the subjects holds on the other half.

    VERIFY_DATA=... python tools/measure_promise.py [HALVINGS]

CelebA subjects are halved at random (seeds 1, 2, ...). Each half chooses thresholds for FMR 1e-2 and 1e-3, by the
bound and by the plain point estimate; the other half's FMR is held against the target.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from verify.capture import Capturer
from verify.cli.output import progress
from verify.data.manifest import read_manifest
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.calibrate import split_trials
from verify.evaluation.embeddings import embed_all
from verify.evaluation.thresholds import ChosenThreshold, choose_thresholds
from verify.metrics import fmr, threshold_at_fmr

TARGETS = (1e-2, 1e-3)


def main() -> None:
    halvings = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    capturer = Capturer.open("face")
    data = Path(os.environ.get("VERIFY_DATA", "../shared/data")) / "faces" / "celeba"
    with EmbeddingCache(default_cache_path()) as cache:
        embedded = embed_all(
            capturer,
            read_manifest(data),
            cache=cache,
            progress=lambda captures, total: progress(captures, total=total, label="photos"),
        )
    kept = {(target, how): 0 for target in TARGETS for how in ("bound", "point")}
    supported = dict.fromkeys(TARGETS, 0)
    for seed in progress(range(1, halvings + 1), total=halvings, label="halvings"):
        halves = split_trials(embedded, seed=seed)
        chosen_on, unseen = halves.calibration, halves.test.non_mated
        chosen = choose_thresholds(
            non_mated=chosen_on.non_mated,
            subject_a=chosen_on.subject_a,
            subject_b=chosen_on.subject_b,
            targets=TARGETS,
        )
        for target in TARGETS:
            point = threshold_at_fmr(non_mated=chosen_on.non_mated, target=target)
            kept[target, "point"] += fmr(non_mated=unseen, threshold=point) <= target
            choice = chosen[target]
            if isinstance(choice, ChosenThreshold):
                supported[target] += 1
                kept[target, "bound"] += fmr(non_mated=unseen, threshold=choice.threshold) <= target
    print(f"CelebA, {halvings} random halvings, model {capturer.model_id[:12]}")
    for target in TARGETS:
        print(
            f"FMR {target:g}: the other half kept it in {kept[target, 'bound']} of {supported[target]} by the "
            f"population bound, in {kept[target, 'point']} of {halvings} by the point estimate"
        )


if __name__ == "__main__":
    main()
