"""The folder of a training run: its checkpoint, its logs, and the bar that people watch. One process writes."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .checkpoint import Config, check_config, read_checkpoint, write_checkpoint
from .group import Group
from .log import RunLog
from .provenance import command, machine

LOG_STEPS = 50
SAVE_SECONDS = 120


class Run:
    """Where a run stands: `step` of `steps`, and `saved`, what its checkpoint holds if there is one."""

    def __init__(self, name: str, args: argparse.Namespace, config: Config, group: Group):
        """name: of the command, for the provenance. Raises ValueError for a checkpoint of another architecture."""
        self.name, self.args, self.config, self.group = name, args, config, group
        self.checkpoint: Path = args.run / "last.pt"
        self.saved: dict[str, Any] | None = None
        if self.checkpoint.exists():
            self.saved = read_checkpoint(self.checkpoint, type(config), group.device)
            check_config(self.checkpoint, self.saved["config"], config)
        self.step = self.steps = 0

    def start(self, steps: int, points: Sequence[tuple[int, int]] = ()) -> None:
        """Opens logs and bar for a run of so many steps."""
        self.steps, self.before = steps, 0.0
        if self.saved:
            self.step, self.before = self.saved["step"], self.saved["seconds"]
            if self.group.leads:
                print(f"resumed {self.checkpoint} at step {self.step} of {steps}")
        self.saved = None  # the state is loaded; do not keep a second copy
        if self.group.leads:
            self.args.run.mkdir(parents=True, exist_ok=True)
            self.log = RunLog(self.args.run, self.step, points)
        self.bar = tqdm(total=steps, initial=self.step, desc="train", unit="step", disable=not self.group.leads)
        self.started = self.saved_at = self.logged_at = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of training so far, over all starts."""
        return self.before + time.monotonic() - self.started

    def advance(
        self, values: dict[str, torch.Tensor], shown: dict[str, str], point: torch.Tensor | None = None, **more: float
    ) -> None:
        """One step is done.

        values: by name, of each image of the global batch (B). shown: which of them the bar has, and their format.
        point: as `RunLog.add`. more: further columns of the log.
        """
        self.step += 1
        self.bar.update()
        if not self.group.leads:
            return
        self.log.add(values, point)
        if self.step % LOG_STEPS == 0:
            now = time.monotonic()
            speed, self.logged_at = LOG_STEPS * self.args.batch / (now - self.logged_at), now
            mean = self.log.write(self.step, hours=self.seconds / 3600, images_per_s=speed, **more)
            self.bar.set_postfix({"images/s": f"{speed:.1f}", **{k: f"{mean[k]:{form}}" for k, form in shown.items()}})

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self.group.leads and time.monotonic() - self.saved_at > SAVE_SECONDS

    def save(self, state: dict[str, Any]) -> None:
        """Replaces the checkpoint by `state` and where the run stands."""
        if not self.group.leads:
            return
        write_checkpoint(self.checkpoint, state | {
            "config": self.config.json(), "step": self.step, "photos": self.step * self.args.batch,
            "seconds": self.seconds, "seed": self.args.seed, "machine": machine(self.group),
            "command": command(self.name, self.args),
        })  # fmt: skip
        self.saved_at = time.monotonic()
