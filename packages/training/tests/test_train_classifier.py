import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from safetensors import safe_open
from test_train import rows

from raccoon_training import evaluate_classifier
from raccoon_training import run as running
from raccoon_training import train_classifier as training
from raccoon_training.checkpoint import read_checkpoint
from raccoon_training.classifier_config import ClassifierConfig
from raccoon_training.networks import load_network
from raccoon_training.resnet import ResNet, load_resnet

STEPS = 6  # 6 photos in batches of 2, two epochs: of 32 px, then of 64 px


@pytest.fixture(scope="module")
def photos(photo_folder, tmp_path_factory) -> Path:
    """Train alone: val has a class that train has not."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "train").symlink_to(photo_folder / "train")
    return folder


@pytest.fixture(scope="module")
def options(photos, random_weights):
    def of(run: Path, *more: object) -> list[str]:
        return [str(value) for value in (
            "--data", photos, "--teacher", random_weights, "--run", run, "--batch", 2, "--epochs", 2, "--lr", 0.01,
            "--size", 64, "--gamma", 0.5, "--threads", 1, "--workers", 0, "--no-bf16", "--device", "cpu", *more,
        )]  # fmt: skip

    return of


@pytest.fixture(scope="module")
def arguments(options):
    def parse(run: Path, *more: object) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        training.add_arguments(parser)
        return parser.parse_args(options(run, *more))

    return parse


@pytest.fixture(scope="module")
def whole(arguments, tmp_path_factory) -> Path:
    """The folder of a run that nothing interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "LOG_STEPS", 1)
        return training.train(arguments(tmp_path_factory.mktemp("whole"))).parent


@pytest.fixture
def _unscored(monkeypatch):
    """A run ends with its last step."""
    monkeypatch.setattr(evaluate_classifier, "finish", lambda args, checkpoint, device: checkpoint)


def saved(run: Path) -> dict:
    return torch.load(run / "last.pt", weights_only=True)


def assert_same(a: dict, b: dict) -> None:
    assert a["step"] == b["step"] == STEPS and a["model"].keys() == b["model"].keys()
    for name, value in a["model"].items():
        assert torch.equal(b["model"][name], value), name


def test_a_run_and_what_it_leaves(whole, photos, capsys):
    log = [{name: float(value) for name, value in row.items()} for row in rows(whole / "log.csv")]
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))
    assert [entry["size"] for entry in log] == [32] * 3 + [64] * 3
    for entry in log:
        assert entry["ce"] > 0 and entry["kl"] > 0 and 0 <= entry["top1"] <= 100 and entry["skipped"] == 0

    weights = whole / "weights.safetensors"
    network = load_resnet(weights)  # in torchvision's layout
    assert network.depth == 18 and network.fc.out_features == 2
    state = saved(whole)["model"]
    assert torch.equal(network.fc.weight, state["network.fc.weight"]) and state["answer.weight"].shape == (1000, 512)
    assert load_network(weights).name == "resnet18"
    with safe_open(weights, "pt") as file:
        origin = json.loads(file.metadata()["training"])
    assert origin["command"].startswith("train-classifier --data ") and origin["photos"] == 2 * STEPS
    assert origin["top1"] == {"data": f"{photos.name} train", "images": 6, "percent": origin["top1"]["percent"]}
    assert float(rows(whole / "eval.csv")[0]["top1"]) == pytest.approx(origin["top1"]["percent"], abs=0.01)

    parser = argparse.ArgumentParser()
    evaluate_classifier.add_arguments(parser)
    before = weights.read_bytes()
    again = evaluate_classifier.run(
        parser.parse_args(["--run", str(whole), "--data", str(photos), "--threads", "1", "--no-bf16"])
    )
    assert again == weights and again.read_bytes() == before
    assert f"step {STEPS}: top-1 {origin['top1']['percent']:.1f} % on 6 photos of train" in capsys.readouterr().out


def test_batch_norms_take_the_statistics_of_what_they_will_see(generator):
    network = ResNet(18, classes=2)
    pixels = torch.randint(256, (6, 3, 64, 64), dtype=torch.uint8, generator=generator)
    evaluate_classifier.settle(network, pixels, bf16=False)
    x = evaluate_classifier.normalise(pixels)
    expected = network.conv1(x).mean((0, 2, 3))
    torch.testing.assert_close(network.bn1.running_mean, expected, rtol=1e-4, atol=1e-5)
    assert not network.training and network.bn1.momentum == 0.1


@pytest.mark.usefixtures("_unscored")
def test_an_interrupted_run_goes_on_as_if_nothing_had_been(arguments, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "SAVE_SECONDS", -1)  # after every step
    rate, calls = training.learning_rate, 0

    def interrupted(*args):
        nonlocal calls
        calls += 1
        if calls > 4:
            raise KeyboardInterrupt
        return rate(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "learning_rate", interrupted)
        training.train(arguments(tmp_path))
    assert saved(tmp_path)["step"] == 4
    training.train(arguments(tmp_path, "--workers", 1))  # who decodes does not matter
    assert_same(saved(tmp_path), saved(whole))


@pytest.mark.usefixtures("_unscored")
def test_kill_9_in_the_middle_of_an_epoch(options, arguments, whole, tmp_path):
    script = (
        "import time; from raccoon_training import __main__, run, train_classifier as t; run.SAVE_SECONDS = -1; "
        "rate = t.learning_rate; t.learning_rate = lambda *a: (time.sleep(0.3), rate(*a))[1]; __main__.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "train-classifier", *options(tmp_path)], cwd=REPOSITORY / "packages/training",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "last.pt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < read_checkpoint(tmp_path / "last.pt", ClassifierConfig)["step"] < STEPS
    training.train(arguments(tmp_path))
    assert_same(saved(tmp_path), saved(whole))


@pytest.mark.usefixtures("_unscored")
def test_labels_alone(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "LOG_STEPS", 1)
    args = arguments(tmp_path, "--epochs", 1)
    args.teacher = None
    training.train(args)
    assert not any(name.startswith("answer.") for name in saved(tmp_path)["model"])
    assert all(float(row["kl"]) == 0 < float(row["ce"]) for row in rows(tmp_path / "log.csv"))
    assert not (tmp_path / "answers.npy").exists()


def test_what_cannot_be_trained(arguments, whole, tmp_path):
    for match, more in (
        ("--area 0.0: the smallest crop", ("--area", 0)),
        ("6 photos do not fill a batch of 7; lower --batch", ("--batch", 7)),
    ):
        with pytest.raises(ValueError, match=match):
            training.train(arguments(tmp_path / "run", *more))
        assert not (tmp_path / "run" / "last.pt").exists()
    before = (whole / "last.pt").read_bytes()
    with pytest.raises(ValueError, match=r"another architecture \(depth 18, not 34\); use another folder"):
        training.train(arguments(whole, "--depth", 34))
    assert (whole / "last.pt").read_bytes() == before
