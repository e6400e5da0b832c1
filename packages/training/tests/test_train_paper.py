import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from test_resnet import random_state

from raccoon_training import evaluate_paper, import_bundle, train_paper
from raccoon_training import run as running
from raccoon_training.checkpoint import read_checkpoint
from raccoon_training.paper import PaperTraining
from raccoon_training.paper_config import MODELS, PaperConfig
from raccoon_training.train_paper import train

STEPS = 6  # 6 photos in batches of 2, two epochs: of 32 px, then of 64 px


@pytest.fixture(scope="module", autouse=True)
def _small_images():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_paper, "SIZE", 64)
        yield


@pytest.fixture(scope="session")
def resnet18(tmp_path_factory) -> Path:
    """Random weights in torchvision's layout, of two classes: as many as the photos have folders."""
    torch.manual_seed(8)
    path = tmp_path_factory.mktemp("resnet") / "resnet18.pth"
    torch.save(random_state(18, 2), path)
    return path


@pytest.fixture(scope="module")
def options(photo_folder, resnet18):
    def of(run: Path, *more: object) -> list[str]:
        return [str(value) for value in (
            "--model", "paper-n0", "--lambda", 1.28, "--data", photo_folder, "--weights", resnet18, "--run", run,
            "--batch", 2, "--epochs", 2, "--lr", 1e-4, "--gamma", 0.5, "--threads", 1, "--workers", 0,
            "--no-bf16", "--device", "cpu", *more,
        )]  # fmt: skip

    return of


@pytest.fixture(scope="module")
def arguments(options):
    def parse(run: Path, *more: object) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        train_paper.add_arguments(parser)
        return parser.parse_args(options(run, *more))

    return parse


@pytest.fixture(scope="module")
def whole(arguments, tmp_path_factory) -> dict:
    """What a run that nothing interrupts ends with."""
    return torch.load(train(arguments(tmp_path_factory.mktemp("whole"))), weights_only=True)


def rows(path: Path) -> list[dict[str, float]]:
    with path.open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def assert_same(a: dict, b: dict) -> None:
    assert a["step"] == b["step"] == STEPS and a["model"].keys() == b["model"].keys()
    for name, value in a["model"].items():
        assert torch.equal(b["model"][name], value), name


def test_a_run_and_what_it_leaves(arguments, photo_folder, tmp_path, monkeypatch, capsys):
    """Logs, an estimate, and a bundle."""
    monkeypatch.setattr(running, "LOG_STEPS", 1)
    run = tmp_path / "run"
    checkpoint = train(arguments(run, "--workers", 1))
    log = rows(run / "log.csv")
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))
    assert [entry["size"] for entry in log] == [32] * 3 + [64] * 3
    assert [entry["lr"] for entry in log] == pytest.approx([1e-4] * 3 + [1e-6] * 3)
    for entry in log:
        assert all(entry[name] > 0 for name in ("total", "split", "taps", "kl", "ce", "bpp", "images_per_s"))
        assert 0 <= entry["top1"] <= 100 and entry["skipped"] == 0
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["command"].startswith("train-paper --model paper-n0 --lambda 1.28 --data ")
    assert saved["photos"] == 2 * STEPS and not (run / "points.csv").exists()

    for wnid in ("n01", "n02"):  # a photo of each class
        (tmp_path / "photos" / wnid).mkdir(parents=True)
        shutil.copy(photo_folder / "train" / wnid / "0.jpg", tmp_path / "photos" / wnid)
    data = ["--data", str(tmp_path / "photos")]
    parser = argparse.ArgumentParser()
    evaluate_paper.add_arguments(parser)
    weights = str(arguments(run).weights)
    score = evaluate_paper.run(parser.parse_args(["--run", str(run), *data, "--weights", weights, "--threads", "1"]))
    assert score.bpp > 0 and all(0 <= value <= 100 for value in (score.top1, score.agreement, score.unsplit))
    assert f"2 photos of train: {score.bpp:.3f} bits per pixel" in capsys.readouterr().out
    assert rows(run / "eval.csv")[0]["bpp"] == pytest.approx(score.bpp)

    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps([{"wnid": wnid, "name": wnid} for wnid in ("n01", "n02")]))
    parser = argparse.ArgumentParser()
    import_bundle.add_arguments(parser)
    bundle = import_bundle.run(parser.parse_args([
        "--checkpoint", str(checkpoint), *data, "--classes", str(classes), "--licence", "MIT",
        "--out", str(tmp_path / "bundle"),
    ]))  # fmt: skip
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["points"][0]["expectedBpp"] == pytest.approx(score.bpp, rel=0.02)


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(arguments, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "SAVE_SECONDS", -1)  # after every step
    step, calls = PaperTraining.step, 0

    def interrupted(*args):
        nonlocal calls
        calls += 1
        if calls > 4:
            raise KeyboardInterrupt
        return step(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PaperTraining, "step", interrupted)
        train(arguments(tmp_path))
    assert torch.load(tmp_path / "last.pt", weights_only=True)["step"] == 4
    assert_same(torch.load(train(arguments(tmp_path)), weights_only=True), whole)


def test_kill_9_in_the_middle_of_an_epoch(options, arguments, whole, tmp_path):
    script = (
        "import sys, time; from raccoon_training import __main__, paper, run, train_paper; run.SAVE_SECONDS = -1; "
        "train_paper.SIZE = 64; "
        "step = paper.PaperTraining.step; "
        "paper.PaperTraining.step = lambda *a: (time.sleep(0.3), step(*a))[1]; __main__.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "train-paper", *options(tmp_path)], cwd=REPOSITORY / "packages/training",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "last.pt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < read_checkpoint(tmp_path / "last.pt", PaperConfig)["step"] < STEPS
    assert_same(torch.load(train(arguments(tmp_path)), weights_only=True), whole)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains(model, arguments, tmp_path):
    """Entropic Student through both of its stages; the others with the classifier that stays."""
    run = tmp_path / model
    fixed = [] if model == "entropic-student" else ["--classifier-fixed"]
    small = ["--model", model, "--batch", 2, "--limit", 2, *fixed]
    saved = torch.load(train(arguments(run, *small)), weights_only=True)
    assert saved["step"] == 2 and saved["config"]["model"] == model


def test_from_scratch(arguments, tmp_path):
    args = arguments(tmp_path, "--depth", 18, "--epochs", 1)
    args.weights = None
    saved = torch.load(train(args), weights_only=True)
    assert saved["config"]["classes"] == 2 and not saved["config"]["distilled"]


def test_what_cannot_be_trained(arguments, photo_folder, tmp_path):
    def fails(match: str, *more: object, kind: type[Exception] = ValueError, weights: bool = True) -> None:
        args = arguments(tmp_path / "run", *more)
        if not weights:
            args.weights = None
        with pytest.raises(kind, match=match):
            train(args)
        assert not (tmp_path / "run" / "last.pt").exists()

    for rate_weight in (0, -1, "nan"):
        fails("lambda must be above 0, not", "--lambda", rate_weight)
    fails("Entropic Student's first stage is on a teacher's features", "--model", "entropic-student", weights=False)
    fails("--classifier-fixed needs the trained network", "--classifier-fixed", weights=False)
    fails("6 photos do not fill a batch of 7; lower --batch", "--batch", 7)
    fails("there is no folder .*: --data is a folder with", "--data", tmp_path / "no", kind=FileNotFoundError)
    fails("lie in 3 folders and the network has 2 classes", "--data", photo_folder / "val")


def test_a_checkpoint_of_another_run(arguments, tmp_path):
    checkpoint = train(arguments(tmp_path, "--epochs", 1))
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"another architecture \(rate_weight 1.28, not 0.64\); use another folder"):
        train(arguments(tmp_path, "--lambda", 0.64))
    with pytest.raises(ValueError, match=r"\(model paper-n0, not paper-n4; classifier_fixed False, not True\)"):
        train(arguments(tmp_path, "--model", "paper-n4", "--classifier-fixed"))
    assert checkpoint.read_bytes() == before
