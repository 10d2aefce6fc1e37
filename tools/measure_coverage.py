"""How often the bounds cover the truth: a simulation with people who err more than others.

    python tools/measure_coverage.py [ROUNDS]

Every subject has an effect of its own on non-mated scores and another on mated scores, so that the rates of people
are spread log-normally, roughly. Each round draws a group of subjects, bounds its rate at a fixed threshold, and then
draws a further group of as many subjects. `population` counts how often the bound is at or above the true rate,
`prediction` how often it is at or above the rate of the further group; independent trials (Clopper-Pearson) stand
beside. All bounds are one-sided, nominally 95 %. Where Hoeffding's bound is smaller than Wilson's it is taken; how
often that was so, for the population, has a column. Prints a Markdown table.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from verify.metrics import DyadDesign, clopper_pearson, mated_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = ((20, 4), (30, 4), (75, 3), (200, 1), (200, 2), (500, 1))
RATES = (1e-2, 1e-3)
EFFECTS = (0.02, 0.1)  # share of the score's variance that each of both subjects has
SEED = 20


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often each bound covered, how often it was Hoeffding's, and its median as a multiple of the rate seen."""

    rounds: int
    population: float
    prediction: float
    independent: float
    independent_further: float
    hoeffding: float
    width: float


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"Bounds nominally 95 %, one-sided; {rounds} rounds; seed {SEED}.\n")
    print("| rate | subjects x samples | true rate | subject effect | population | prediction | ", end="")
    print("independent trials, same two questions | Hoeffding's | median bound / rate | rounds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, measure in (("FMR", fmr_coverage), ("FNMR", fnmr_coverage)):
        for subjects, samples in GROUPS:
            if name == "FNMR" and samples == 1:
                continue
            for rate in RATES if name == "FMR" else (0.05, 1e-2):
                for effect in EFFECTS:
                    seen = measure(subjects, samples, rate=rate, effect=effect, rounds=rounds)
                    print(
                        f"| {name} | {subjects} x {samples} | {rate:g} | {effect:g} | {seen.population:.1%} | "
                        f"{seen.prediction:.1%} | {seen.independent:.1%}, {seen.independent_further:.1%} | "
                        f"{seen.hoeffding:.1%} | {seen.width:.1f} | {seen.rounds} |",
                        flush=True,
                    )


def fmr_coverage(
    subjects: int, samples: int, *, rate: float, effect: float, rounds: int, seed: int = SEED, least: int = 10
) -> Coverage:
    """Coverage of dyadic bounds; rounds with fewer than `least` errors are drawn again, as thresholds are."""
    rng = np.random.default_rng(seed)
    i, j = np.triu_indices(subjects, 1)
    a, b = np.repeat(i, samples**2), np.repeat(j, samples**2)
    design = DyadDesign.of(subject_a=a, subject_b=b, trials=a.size)
    threshold = norm.isf(rate)

    def errors() -> NDArray[np.intp]:
        person = np.sqrt(effect) * rng.standard_normal(subjects)
        pair = np.sqrt(0.2) * rng.standard_normal(i.size)
        scores = np.repeat(person[i] + person[j] + pair, samples**2)
        scores += np.sqrt(0.8 - 2 * effect) * rng.standard_normal(a.size)
        return np.flatnonzero(scores >= threshold)

    counts, widths = np.zeros(5), []
    done = tried = 0
    while done < rounds and tried < 20 * rounds:
        wrong, further = errors(), errors().size / a.size
        tried += 1
        if wrong.size < least:
            continue
        done += 1
        population = design.rate(a[wrong], b[wrong])
        prediction = design.rate(a[wrong], b[wrong], bound="prediction").upper
        naive = clopper_pearson(wrong.size, trials=a.size)[1]
        held = population.upper >= rate, prediction >= further, naive >= rate, naive >= further
        counts += *held, population.bound.startswith("hoeffding")
        widths.append(population.upper / population.value)
    return Coverage(done, *(counts / max(done, 1)).tolist(), float(np.median(widths)) if widths else np.nan)


def fnmr_coverage(
    subjects: int, samples: int, *, rate: float, effect: float, rounds: int, seed: int = SEED
) -> Coverage:
    """Coverage of cluster bounds; mated trials are all pairs of `samples` + 2 samples."""
    rng = np.random.default_rng(seed)
    trials = (samples + 2) * (samples + 1) // 2
    subject = np.repeat(np.arange(subjects), trials)
    threshold = norm.ppf(rate)

    def scores() -> NDArray[np.float64]:
        person = np.sqrt(4 * effect) * rng.standard_normal(subjects)
        return person[subject] + np.sqrt(1 - 4 * effect) * rng.standard_normal(subject.size)

    counts, widths = np.zeros(5), []
    for _ in range(rounds):
        seen, further = scores(), float(np.mean(scores() < threshold))
        population = mated_rate(mated=seen, subject=subject, threshold=threshold)
        prediction = mated_rate(mated=seen, subject=subject, threshold=threshold, bound="prediction")
        naive = clopper_pearson(population.errors, trials=seen.size)[1]
        held = population.upper >= rate, prediction.upper >= further, naive >= rate, naive >= further
        counts += *held, population.bound.startswith("hoeffding")
        if population.errors:
            widths.append(population.upper / population.value)
    return Coverage(rounds, *(counts / rounds).tolist(), float(np.median(widths)) if widths else np.nan)


if __name__ == "__main__":
    main()
