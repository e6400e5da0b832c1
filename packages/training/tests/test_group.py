"""Two processes under torchrun, with gloo, take the same steps as one at the same global batch."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from test_resnet import random_state

# Sums in another order differ in the last digit, and where that rounds a value to the next symbol the loss jumps by as
# much as a hundredth: so the universal model sees the noise that stands for rounding throughout.
SCRIPT = """
from raccoon_training import __main__, model, run, train_paper
run.LOG_STEPS, train_paper.SIZE = 1, 64
forward = model.SplitModel.forward
model.SplitModel.forward = lambda self, *args, rounding: forward(self, *args, rounding=False)
__main__.main()
"""


def train(processes: int, tmp_path: Path, *options: object) -> tuple[list[dict[str, float]], dict]:
    """The log of a run, a line for each step, and its checkpoint."""
    script, run = tmp_path / "script.py", tmp_path / str(processes)
    script.write_text(SCRIPT)
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes] if processes > 1 else []
    dashes = ["--"] if processes > 1 else []  # or torchrun takes --run for an option of its own
    done = subprocess.run(
        [str(value) for value in (
            sys.executable, *start, script, *dashes, *options, "--run", run, "--threads", 1, "--no-bf16",
            "--device", "cpu",
        )],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "packages/training"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    with (run / "log.csv").open(newline="") as file:
        log = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return log, torch.load(run / "last.pt", weights_only=True)


def assert_same_curve(one: list[dict], two: list[dict], tolerance: float) -> None:
    assert len(one) == len(two) > 0
    for a, b in zip(one, two, strict=True):
        for name in a.keys() - {"hours", "images_per_s"}:
            assert b[name] == pytest.approx(a[name], rel=tolerance, abs=1e-6), (a["step"], name)


def test_the_universal_model(tmp_path, photo_folder, random_weights):
    """Head start and whole loss; batches in which a process has no image at some stop."""
    options = (
        "train", "--data", photo_folder, "--weights", random_weights, "--batch", 2, "--head-start", 1, "--epochs", 1,
        "--stops", 0, 1, "--rate-targets", 0.2, 0.8,
    )  # fmt: skip
    (one, saved), (two, shared) = (train(processes, tmp_path, *options) for processes in (1, 2))
    assert_same_curve(one, two, 1e-4)
    for name, value in saved["average"].items():
        torch.testing.assert_close(shared["average"][name], value, rtol=1e-3, atol=1e-4)
    assert shared["machine"].startswith("2 processes on ")


def test_a_model_of_the_paper(tmp_path, photo_folder):
    """With the classifier fixed: BatchNorms that train have the statistics of a process's own images."""
    weights = tmp_path / "resnet18.pth"
    torch.save(random_state(18, 2), weights)
    options = (
        "train-paper", "--model", "paper-n0", "--lambda", 1.28, "--classifier-fixed", "--data", photo_folder,
        "--weights", weights, "--batch", 2, "--epochs", 2, "--lr", 1e-4, "--gamma", 0.5, "--workers", 0,
    )  # fmt: skip
    (one, saved), (two, shared) = (train(processes, tmp_path, *options) for processes in (1, 2))
    assert_same_curve(one, two, 1e-3)
    for name, value in saved["model"].items():
        torch.testing.assert_close(shared["model"][name], value, rtol=1e-3, atol=1e-5)
