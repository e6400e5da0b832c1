import argparse
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY
from test_resnet import random_state

from raccoon_training import run as running
from raccoon_training import train as training
from raccoon_training.checkpoint import read_checkpoint
from raccoon_training.group import Group
from raccoon_training.model import SplitConfig, SplitModel
from raccoon_training.networks import load_network
from raccoon_training.provenance import command, machine
from raccoon_training.train import augmentation, follow, sample_channels, sample_points

STEPS = 6  # 6 photos in batches of 2: 3 steps on the split alone, 3 on the whole loss


@pytest.fixture
def options(photo_folder, random_weights):
    def of(run: Path, *more: object) -> list[str]:
        return [str(value) for value in (
            "--data", photo_folder, "--weights", random_weights, "--run", run, "--batch", 2, "--head-start", 1,
            "--epochs", 1, "--stops", 0, 1, "--rate-targets", 0.2, 0.8, "--threads", 1, "--no-bf16",
            "--device", "cpu", *more,
        )]  # fmt: skip

    return of


@pytest.fixture
def arguments(options):
    def parse(run: Path, *more: object) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        training.add_arguments(parser)
        return parser.parse_args(options(run, *more))

    return parse


def rows(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def class_list(*wnids: str) -> str:
    """A list of as many classes as the network has, these first."""
    others = (f"other{i}" for i in range(1000 - len(wnids)))
    return json.dumps([{"wnid": wnid, "name": wnid} for wnid in (*wnids, *others)])


def interrupt(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C in the middle of the step behind `after` steps."""
    sample, calls = training.sample_points, 0

    def counted(*args):
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        return sample(*args)

    monkeypatch.setattr(training, "sample_points", counted)


def assert_same(a: dict, b: dict) -> None:
    for part in ("model", "average"):
        assert a[part].keys() == b[part].keys()
        for name, value in a[part].items():
            assert torch.equal(b[part][name], value), name
    assert torch.equal(a["generator"], b["generator"]) and torch.equal(a["log_rate_weight"], b["log_rate_weight"])


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(arguments, tmp_path, monkeypatch):
    """Within the head start and within the whole loss, each in the middle of an epoch."""
    whole = torch.load(training.train(arguments(tmp_path / "whole")), weights_only=True)
    assert whole["step"] == STEPS and whole["photos"] == 2 * STEPS

    monkeypatch.setattr(running, "SAVE_SECONDS", -1)  # after every step
    for after in (2, 3):  # 2 steps, then 3 more
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt(patch, after)
            training.train(arguments(tmp_path / "killed"))
    assert torch.load(tmp_path / "killed" / "last.pt", weights_only=True)["step"] == 5
    assert_same(torch.load(training.train(arguments(tmp_path / "killed")), weights_only=True), whole)


def test_kill_9_in_the_middle_of_an_epoch(options, arguments, tmp_path):
    """The process gets no chance to say goodbye; what is on the disk is whole, and the resumed run ends the same."""
    whole = torch.load(training.train(arguments(tmp_path / "whole")), weights_only=True)
    run = tmp_path / "killed"
    script = (
        "import sys, time; from raccoon_training import __main__, run, train; run.SAVE_SECONDS = -1; "
        "follow = train.follow; train.follow = lambda *a: (time.sleep(0.3), follow(*a)); __main__.main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, "train", *options(run)], cwd=REPOSITORY / "packages/training",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (run / "last.pt").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 0 < read_checkpoint(run / "last.pt", SplitConfig)["step"] < STEPS
    assert_same(torch.load(training.train(arguments(run)), weights_only=True), whole)


def test_log_and_labels(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "LOG_STEPS", 1)
    classes = tmp_path / "classes.json"
    classes.write_text(class_list("n02", "n01"))
    run = tmp_path / "labelled"
    training.train(arguments(run, "--classes", classes))
    log = [{name: float(value) for name, value in row.items()} for row in rows(run / "log.csv")]
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))
    for entry in log:  # nothing from behind the split in the head start
        assert all((entry[name] > 0) == (entry["step"] > STEPS // 2) for name in ("ce", "kl", "taps", "exit_kl"))
        assert entry["bpp"] > 0 and entry["split"] > 0 and entry["lambda"] > 0 and entry["images_per_s"] > 0
    assert {(row["n"], row["q"]) for row in rows(run / "points.csv")} <= {(n, q) for n in "01" for q in "01"}
    assert any((run / "tensorboard").iterdir())


def test_labels_need_the_wnids(arguments, tmp_path):
    classes = tmp_path / "classes.json"
    classes.write_text(class_list("n02"))
    with pytest.raises(ValueError, match="has no n01"):
        training.train(arguments(tmp_path / "run", "--classes", classes))
    classes.write_text(json.dumps([{"wnid": "n01", "name": "one"}, {"wnid": "n02", "name": "two"}]))
    with pytest.raises(ValueError, match="has 2 classes, the network 1000"):
        training.train(arguments(tmp_path / "run", "--classes", classes))


def test_images_grow(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "LOG_STEPS", 1)
    training.train(arguments(tmp_path / "run", "--gamma", 0.5, "--head-start", 2, "--epochs", 1))
    sizes = [int(row["size"]) for row in rows(tmp_path / "run" / "log.csv")]
    assert sizes == sorted(sizes) and sizes[0] == 128 and 128 < sizes[-1] < 224


def test_fewer_photos_than_a_batch(arguments, tmp_path):
    with pytest.raises(ValueError, match="lower --batch"):
        training.train(arguments(tmp_path / "run", "--batch", 7))


def test_a_folder_without_photos(arguments, tmp_path):
    (tmp_path / "empty").mkdir()
    for name, fault in (("empty", "no photos in"), ("missing", "there is no folder")):
        with pytest.raises(FileNotFoundError, match=rf"{fault} .*{name}: --data is a folder with train-\*\.tar shards"):
            training.train(arguments(tmp_path / "run", "--data", tmp_path / name))
        assert not (tmp_path / "run").exists()


def test_a_rate_that_cannot_be(arguments, tmp_path):
    with pytest.raises(ValueError, match="above 0 and rising"):
        training.train(arguments(tmp_path / "run", "--rate-targets", 0, 0.5))


def test_a_checkpoint_of_another_architecture(arguments, tmp_path):
    checkpoint = training.train(arguments(tmp_path / "run"))
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"last\.pt is of another architecture .*--run"):
        training.train(arguments(tmp_path / "run", "--stops", 0, 2))
    assert checkpoint.read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(arguments, tmp_path):
    """The first run ended; a longer one finds no room: the checkpoint of the first is still there, and resumes."""
    checkpoint = training.train(arguments(tmp_path / "run"))
    before = checkpoint.read_bytes()
    checkpoint.with_suffix(".tmp").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device; the one before is intact"):
        training.train(arguments(tmp_path / "run", "--epochs", 2))
    assert checkpoint.read_bytes() == before
    assert torch.load(training.train(arguments(tmp_path / "run", "--epochs", 2)), weights_only=True)["step"] == 9


@pytest.mark.parametrize(
    ("limit", "fault"),
    [
        (100_000, "cannot write the checkpoint {run}/last.pt: File too large; the one before is intact"),
        (1_000, "cannot write the logs in {run}: File too large"),
    ],
)
def test_no_room_for_what_a_run_writes(limit, fault, options, arguments, tmp_path):
    """A process whose files may have so many bytes: it ends with one line, and what was there can be resumed."""
    run = tmp_path / "run"
    checkpoint = training.train(arguments(run))
    before = checkpoint.read_bytes()
    script = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
        "from raccoon_training import __main__, run; run.LOG_STEPS = 1; __main__.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "train", *options(run, "--epochs", 2)], cwd=REPOSITORY / "packages/training",
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"raccoon_training train: {fault.format(run=run)}. Make room and resume" in done.stderr.splitlines()
    assert checkpoint.read_bytes() == before
    assert torch.load(training.train(arguments(run, "--epochs", 2)), weights_only=True)["step"] == 9


def test_a_corrupt_photo_among_good_ones(arguments, photo_folder, tmp_path, capfd):
    """Named, skipped, counted; the others train."""
    shutil.copytree(photo_folder / "train", tmp_path / "train")
    bad = tmp_path / "train" / "n02" / "9.jpg"
    bad.write_bytes((photo_folder / "train" / "n01" / "0.jpg").read_bytes()[:300])
    saved = torch.load(training.train(arguments(tmp_path / "run", "--data", tmp_path)), weights_only=True)
    error = capfd.readouterr().err
    assert f"skipped {bad}: " in error and "1 of 7 photos skipped" in error
    assert saved["step"] == STEPS


def test_a_shard_cut_short(arguments, photo_folder, tmp_path):
    with tarfile.open(tmp_path / "train-00.tar", "w") as tar:
        tar.add(photo_folder / "train", "train")
    whole = (tmp_path / "train-00.tar").read_bytes()
    (tmp_path / "train-00.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"train-00\.tar is cut short after \d photos; fetch it again"):
        training.train(arguments(tmp_path / "run", "--data", tmp_path))
    assert not (tmp_path / "run").exists()


def test_command_line_errors_are_one_line(options, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "raccoon_training", "train", *options(tmp_path / "run", "--batch", 7)],
        cwd=REPOSITORY / "packages/training", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "raccoon_training train: 6 photos do not fill a batch of 7; lower --batch"


def test_what_the_provenance_says(arguments, tmp_path):
    line = command("train", arguments(tmp_path / "some" / "run", "--lr", 0.002))
    assert line.startswith("train --data ") and str(tmp_path) not in line
    for part in ("--run run", "--stops 0 1", "--rate-targets 0.2 0.8", "--lr 0.002", "--head-start 1", "--no-bf16"):
        assert part in line
    assert machine(Group(torch.device("cpu"))).endswith("processor cores")
    assert machine(Group(torch.device("cpu"), size=2)).startswith("2 processes on ")


def test_augmentation_lasts_for_a_variant():
    variants = [augmentation(5, seed, (phase, i)) for seed in (1, 2) for phase in (0, 1) for i in (0, 1)]
    assert len({tuple(draws.flatten().tolist()) for draws in variants}) == 8
    assert torch.equal(augmentation(5, 1, (0, 1)), variants[1]) and variants[0].shape == (5, 8)


def test_the_extremes_are_in_every_batch(generator):
    """A batch of 32 has the shallowest and the deepest encoder, each at the lowest and the highest rate."""
    config = SplitConfig()
    last, counts = len(config.points()) - 1, torch.zeros(24)
    rates = len(config.rate_targets)
    for _ in range(300):
        point = sample_points(config, 32, 0.45, generator)
        assert {last, last - rates + 1} <= set(point.tolist())
        assert {p // rates for p in point.tolist()} == {0, 1, 2, 3}
        counts += point.bincount(minlength=24)
    share = counts.reshape(4, 6) / counts.sum()
    torch.testing.assert_close(share.sum(1), torch.tensor([0.55 / 3] * 3 + [0.45]), atol=0.01, rtol=0)
    torch.testing.assert_close(share.sum(0), torch.full((6,), 1 / 6), atol=0.01, rtol=0)


def test_one_stop_alone(generator):
    config = SplitConfig(stops=(8,), rate_targets=(0.45,))
    assert not sample_points(config, 32, 0.45, generator).any()


def test_some_images_keep_a_prefix(generator):
    channels = sample_channels(48, 4000, 0.25, generator)
    short = channels[channels < 48]
    assert 0.2 < len(short) / 4000 < 0.3 and short.min() == 12 and short.max() == 47
    assert (sample_channels(48, 100, 0.0, generator) == 48).all()


def test_average_follows(config):
    model, average = SplitModel(config), SplitModel(config)
    for p in (*model.parameters(), *average.parameters()):
        p.data.zero_()
    for p in model.parameters():
        p.data += 1
    follow(average, model, 0, 0.9)
    assert all((p == 0.9).all() for p in average.parameters())  # fast at first: 1 - 1/10
    follow(average, model, 10_000, 0.9)
    torch.testing.assert_close(next(average.parameters()).mean().item(), 0.91)


@pytest.fixture
def resnet18(tmp_path, monkeypatch) -> Path:
    """A ResNet-18 of two classes that has learned nothing, and images of 64 px."""
    monkeypatch.setattr(training, "SIZE", 64)
    torch.manual_seed(8)
    torch.save(random_state(18, 2), tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


def test_a_resnet_fixed_and_jointly(arguments, resnet18, tmp_path, monkeypatch):
    """With labels: what is behind the split stays as it was, or learns with the rest and resumes with it."""
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps({"n01": "one", "n02": "two"}))
    own = ("--weights", resnet18, "--classes", classes, "--stops", 0, 1, "--rate-targets", 0.5, "--batch", 3)
    fixed = torch.load(training.train(arguments(tmp_path / "fixed", *own)), weights_only=True)
    config = SplitConfig.parse(fixed["config"])
    assert (config.network, config.classes, config.feature_channels, config.joint) == ("resnet18", 2, 128, False)
    assert not any(name.startswith("classifier.") for name in fixed["model"])

    joint = (*own, "--joint", "--condition", "film", "--noise-sigma", 0.5)
    whole = torch.load(training.train(arguments(tmp_path / "joint", *joint)), weights_only=True)
    before = load_network(resnet18).without_stem().state_dict()
    after = {n.removeprefix("classifier."): w for n, w in whole["model"].items() if n.startswith("classifier.")}
    assert after.keys() == before.keys() and "conv1.weight" not in after
    changes = [(after[name] - w).abs().max() for name, w in before.items()]
    assert 0 < max(changes) < 1e-3  # a step at a tenth of the others' speed
    assert whole["model"]["decoder.block_scale"].shape == (2, 4, 128)

    monkeypatch.setattr(running, "SAVE_SECONDS", -1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt(patch, 1)
        training.train(arguments(tmp_path / "killed", *joint))
    assert_same(torch.load(training.train(arguments(tmp_path / "killed", *joint)), weights_only=True), whole)
    with pytest.raises(ValueError, match=r"another architecture \(joint True, not False; condition film, not first\)"):
        training.train(arguments(tmp_path / "killed", *own))


def test_only_the_encoder_sees_the_noise(arguments, tmp_path, monkeypatch):
    """The unsplit network's features are of the clean photos; nothing else differs."""
    seen = []
    ask = training.Objective.forward

    def forward(self, x, unsplit_network, **options):
        seen.append((x, unsplit_network.features[0]))
        return ask(self, x, unsplit_network, **options)

    monkeypatch.setattr(training.Objective, "forward", forward)
    for sigma in (0, 0.5):
        training.train(arguments(tmp_path / f"noise{sigma}", "--noise-sigma", sigma, "--epochs", 0))
    (clean, features), (noisy, the_same) = seen[0], seen[STEPS // 2]
    assert torch.equal(features, the_same)
    deviations = (noisy - clean).std((1, 2, 3)) / 2  # on pixels from 0 to 1
    assert (deviations > 0).all() and (deviations < 0.5).all() and deviations[0] != deviations[1]
    with pytest.raises(ValueError, match=r"--noise-sigma -1\.0: the largest deviation"):
        training.train(arguments(tmp_path / "negative", "--noise-sigma", -1))


def test_an_edge_half_learns_on(arguments, tmp_path):
    """From a run's averaged model; decoder, inverse gains and medians stay, to the last bit, also over a restart."""
    first = torch.load(training.train(arguments(tmp_path / "first")), weights_only=True)["average"]
    own = ("--from", tmp_path / "first", "--head-start", 0)
    training.train(arguments(tmp_path / "second", *own, "--epochs", 1))
    checkpoint = training.train(arguments(tmp_path / "second", *own, "--epochs", 2))
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["config"]["cloud_fixed"] and saved["config"]["stops"] == (0, 1) and saved["step"] == STEPS
    for part in ("model", "average"):
        for name, value in saved[part].items():
            cloud = name.startswith("decoder.") or name in ("log_inverse_gain", "step_median")
            assert torch.equal(value, first[name]) == cloud, name
    with pytest.raises(ValueError, match=r"another architecture \(cloud_fixed True, not False\)"):
        training.train(arguments(tmp_path / "second"))


def test_an_edge_half_of_another_network(arguments, resnet18, tmp_path):
    training.train(arguments(tmp_path / "first"))
    with pytest.raises(ValueError, match=r"first splits a mobilenet with 1000 classes; .* is a resnet18 with 2"):
        training.train(arguments(tmp_path / "second", "--from", tmp_path / "first", "--weights", resnet18))
