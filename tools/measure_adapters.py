"""What adapters gain on people they never saw: repeated identity-disjoint splits, each with paired bounds.

Run: python tools/measure_adapters.py PEOPLE --model sface [--model sface+dlib] [--adapter wccn ...] [--repeats 10]
     [--replicates 200] [--also MORE_PEOPLE ...] [--only-also] [--json FILE]

In each repeat half of the subjects of PEOPLE are learnt from (with all of --also, or with --only-also by these
alone), and the others are measured. Settings are chosen inside the training half. For each adapter: mean over
the repeats of each error rate before and after, the mean 95 % bounds of the change (resampling the unseen subjects,
both matchers on the same ones), in how many repeats it fell, and how often the bounds show a gain or a loss.
Samples of --also that look like somebody in PEOPLE (cosine above 0.5 by every encoder) are left out with their
subject: the same person must not be on both sides.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from verify.capture import Capturer
from verify.data.manifest import read_manifest
from verify.evaluation.cache import EmbeddingCache, default_cache_path
from verify.evaluation.embeddings import embed_all
from verify.models.fusions import JOINT
from verify.training.adapters import (
    AFTER,
    BEFORE,
    KINDS,
    Affine,
    People,
    before_and_after,
    fit_adapter,
    joined_people,
)

SAME_PERSON = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("people", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--adapter", action="append", choices=list(KINDS))
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--also", type=Path, action="append", default=[])
    parser.add_argument("--only-also", action="store_true")
    parser.add_argument("--replicates", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    results = {}
    for model in asked.model:
        results[model] = measured(model, asked)
    if asked.json:
        asked.json.write_text(json.dumps(results, indent=1) + "\n")


def measured(model: str, asked: argparse.Namespace) -> dict[str, Any]:
    capturers = [Capturer.open(name) for name in model.split(JOINT)]
    with EmbeddingCache(default_cache_path()) as cache:
        people = embedded(asked.people, capturers, cache)
        also = [apart(embedded(path, capturers, cache), people) for path in asked.also]
    found: dict[str, list[dict[str, Any]]] = {}
    rng = np.random.default_rng(asked.seed)
    for repeat in range(asked.repeats):
        order = rng.permutation(people.subjects)
        fit, test = people.among(order[: len(order) // 2]), people.among(order[len(order) // 2 :])
        learnt = joined_people(also if asked.only_also else [fit, *also])
        for kind in asked.adapter or ["wccn"]:
            began = time.perf_counter()
            fitted = fit_adapter(kind, learnt, seed=repeat)
            took = time.perf_counter() - began
            vectors = {
                BEFORE: Affine.identity(test.vectors.shape[1]).apply(test.vectors),
                AFTER: fitted.affine.apply(test.vectors),
            }
            result = before_and_after(test, vectors=vectors, seed=repeat, replicates=asked.replicates)
            found.setdefault(kind, []).append(
                result | {"setting": dict(fitted.setting), "placement": str(fitted.placement), "s": took}
            )
    show(model, people, also, found)
    return found


def embedded(path: Path, capturers: list[Capturer], cache: EmbeddingCache) -> People:
    sets = [embed_all(capturer, read_manifest(path), cache=cache) for capturer in capturers]
    vectors = np.hstack([one.vectors for one in sets]).astype(np.float64)
    usable = np.isfinite(vectors).all(axis=1)
    _, owner = np.unique([entry.subject_id for entry in sets[0].entries], return_inverse=True)
    dims = tuple(one.vectors.shape[1] for one in sets)
    return People(
        vectors[usable], owner[usable].astype(np.int64), np.zeros(int(usable.sum()), np.int64), dims
    )


def apart(also: People, people: People) -> People:
    """Without subjects who look like one of the people by every encoder."""
    edges = np.cumsum(also.dims)[:-1]
    alike = np.ones((len(also), len(people)), dtype=bool)
    for ours, theirs in zip(
        np.split(also.vectors, edges, 1), np.split(people.vectors, edges, 1), strict=True
    ):
        alike &= (ours @ theirs.T) > SAME_PERSON
    familiar = np.unique(also.owner[alike.any(axis=1)])
    print(f"left out as likely the same people: {len(familiar)} of {len(also.subjects)} subjects")
    return also.among(np.setdiff1d(also.subjects, familiar))


def show(model: str, people: People, also: list[People], found: dict[str, list[dict[str, Any]]]) -> None:
    further = sum(len(one.subjects) for one in also)
    print(f"\n{model}: {len(people.subjects)} subjects, {further} further ones to learn from")
    for kind, repeats in found.items():
        tests = {
            key: np.mean([one[key] for one in repeats]) for key in ("subjects", "mated", "non_mated", "s")
        }
        print(
            f"{kind}: {len(repeats)} repeats, {tests['subjects']:.0f} unseen subjects, {tests['mated']:.0f} mated and "
            f"{tests['non_mated']:.0f} non-mated pairs each; {tests['s']:.1f} s a fit"
        )
        for measure in repeats[0]["measures"]:
            rows = [one["measures"][measure] for one in repeats if measure in one["measures"]]
            change = {
                key: np.array([row["difference"][key] for row in rows]) for key in ("value", "lower", "upper")
            }
            before, after = (np.mean([row[name]["value"] for row in rows]) for name in (BEFORE, AFTER))
            print(
                f"  {measure:20s} {before:7.2%} -> {after:7.2%}  change {change['value'].mean():+.2%} "
                f"({change['lower'].mean():+.2%} to {change['upper'].mean():+.2%}), fell in "
                f"{int((change['value'] < 0).sum())} of {len(rows)}, shown in {int((change['upper'] < 0).sum())}, "
                f"a loss shown in {int((change['lower'] > 0).sum())}",
                flush=True,
            )


if __name__ == "__main__":
    main()
