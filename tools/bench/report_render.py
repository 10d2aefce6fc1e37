"""How long Chromium takes to show the report of a hundred million trials, from the file to the last chart painted.

    python tools/bench/report_render.py [--facts report.json] [--rounds 5]

Without --facts the page is drawn from made-up facts of 10^8 non-mated trials (tests/report/made.py): every section,
1,001 points of curve, 120 bins. Asked for: under 2 s.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import sync_playwright

from tests.report import made
from verify.report.calibration import calibration_page
from verify.report.facts import read_facts

# two animation frames after load: styles, layout and paint are done
PAINTED = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
    document.body.getBoundingClientRect(); done(performance.now()); })))"""
TRIALS = 100_000_000


def large() -> dict:
    facts = made.full()
    facts["curve"] = made.curve(1001, trials=TRIALS)
    facts["histogram"] = made.histogram(200, trials=TRIALS)
    for side in ("calibration", "test"):
        facts["sets"][0][side] = made.side(subjects=10_000, samples=100_000, trials=TRIALS)
    facts["verdicts"][0]["fmr"] = made.rate(62_000, TRIALS)
    return facts


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--facts", type=Path)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("google-chrome"))
    given = options.parse_args()
    facts = read_facts(given.facts) if given.facts else large()
    start = time.perf_counter()
    html = calibration_page(facts)
    drawn = time.perf_counter() - start
    print(f"drawn in {drawn:.3f} s, {len(html.encode()) / 1000:,.0f} kB")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as runner:
        page_file = Path(folder) / "report.html"
        page_file.write_text(html, encoding="utf-8")
        browser = runner.chromium.launch(
            executable_path=given.chromium, args=["--no-sandbox", "--disable-gpu", "--no-first-run"]
        )
        taken = []
        for _ in range(given.rounds):
            page = browser.new_page(viewport={"width": 1200, "height": 900})
            page.goto(page_file.as_uri())
            taken.append(page.evaluate(PAINTED) / 1000)
            page.close()
        browser.close()
    print(
        f"shown in {statistics.median(taken):.2f} s (median of {given.rounds}; worst {max(taken):.2f} s); asked: 2 s"
    )


if __name__ == "__main__":
    main()
