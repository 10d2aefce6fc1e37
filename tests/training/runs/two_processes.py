"""Run by torchrun: the jobs of test_ddp, one after the other in the same two processes."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch

from verify.cli import main
from verify.training import distributed
from verify.training.checkpoint import newest


def command_line(*arguments: str) -> None:
    try:
        main(["train", *arguments])
    except SystemExit as stop:
        if stop.code:
            raise


if __name__ == "__main__":
    torch.set_num_threads(1)
    stop, distributed.stop = distributed.stop, lambda: None  # the processes stay together between the jobs
    world = distributed.start("cpu")
    for job in json.loads(Path(sys.argv[1]).read_text()):
        if "forget" in job:  # a run that was killed after its first epoch
            distributed.barrier()
            if world.is_main:
                shutil.rmtree(newest(Path(job["forget"])))
                shutil.rmtree(newest(Path(job["forget"])))
            distributed.barrier()
        command_line(*job["arguments"])
    stop()
