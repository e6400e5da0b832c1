import argparse
import json

import pytest
import torch

from raccoon_training import train as training
from raccoon_training.model import SplitConfig
from raccoon_training.train import epoch_order, learning_rate, sample_points

STEPS = 6  # 6 photos in batches of 2: 3 steps on the split alone, 3 on the whole loss


@pytest.fixture
def arguments(photo_folder, random_weights):
    def parse(run, *more: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        training.add_arguments(parser)
        return parser.parse_args([
            "--data", str(photo_folder), "--weights", str(random_weights), "--run", str(run), "--batch", "2",
            "--head-start", "1", "--epochs", "1", "--threads", "1", "--no-bf16", "--device", "cpu", *more,
        ])  # fmt: skip

    return parse


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


def test_a_killed_run_goes_on_as_if_nothing_had_been(arguments, tmp_path, monkeypatch):
    """Interrupted within the head start and within the whole loss, each in the middle of an epoch."""
    whole = torch.load(training.train(arguments(tmp_path / "whole")), weights_only=True)
    assert whole["step"] == STEPS and whole["photos"] == 2 * STEPS

    monkeypatch.setattr(training, "SAVE_SECONDS", -1)  # after every step
    for after in (2, 3):  # 2 steps, then 3 more
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            interrupt(patch, after)
            training.train(arguments(tmp_path / "killed"))
    assert torch.load(tmp_path / "killed" / "last.pt", weights_only=True)["step"] == 5
    resumed = torch.load(training.train(arguments(tmp_path / "killed")), weights_only=True)

    assert resumed["model"].keys() == whole["model"].keys()
    for name, value in whole["model"].items():
        assert torch.equal(resumed["model"][name], value), name
    assert torch.equal(resumed["generator"], whole["generator"])


def test_log_and_labels(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOG_STEPS", 1)
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps([{"wnid": wnid, "name": wnid} for wnid in ("n02", "n01")]))
    run = tmp_path / "labelled"
    training.train(arguments(run, "--classes", str(classes)))
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, STEPS + 1))
    assert all(entry.keys() == {"step", "lr", "loss", "bpp", "split", "taps", "kl", "ce"} for entry in log)
    for entry in log:  # nothing from behind the split in the head start
        assert (entry["ce"] > 0) == (entry["kl"] > 0) == (entry["taps"] > 0) == (entry["step"] > STEPS // 2)
    assert all(entry["bpp"] > 0 and entry["split"] > 0 for entry in log)


def test_labels_need_the_wnids(arguments, tmp_path):
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps([{"wnid": "n02", "name": "two"}]))
    with pytest.raises(ValueError, match="has no n01"):
        training.train(arguments(tmp_path / "run", "--classes", str(classes)))


def test_fewer_photos_than_a_batch(arguments, tmp_path):
    with pytest.raises(ValueError, match="lower --batch"):
        training.train(arguments(tmp_path / "run", "--batch", "7"))


def test_order_of_an_epoch():
    orders = [epoch_order(50, seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert all(order.sort().values.tolist() == list(range(50)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert torch.equal(epoch_order(50, 1, 1), orders[1])


def test_learning_rate():
    steps, warmup, cooldown, peak = 1000, 100, 200, 4e-3
    rates = [learning_rate(step, steps, warmup, cooldown, peak) for step in range(steps)]
    assert rates[0] == pytest.approx(peak / warmup) and rates[warmup - 1] == peak
    assert set(rates[warmup - 1 : steps - cooldown + 1]) == {peak}
    assert rates[steps - cooldown // 2] == pytest.approx(peak / 2) and rates[-1] == pytest.approx(peak / cooldown)
    assert rates[:warmup] == sorted(rates[:warmup]) and rates[-cooldown:] == sorted(rates[-cooldown:], reverse=True)
    assert learning_rate(steps, steps, warmup, cooldown, peak) == 0


@pytest.mark.parametrize("stops", [(0,), (0, 4), (0, 2, 4)])
@pytest.mark.parametrize("batch", [1, 5, 32])
def test_every_operating_point_comes_up(stops, batch, generator):
    """The largest and the smallest above all; all rates in every batch that is large enough."""
    config, seen = SplitConfig(stops=stops), []
    for _ in range(2000 // batch):
        point, depth = sample_points(config, batch, 0.7, generator)
        assert [config.points()[p][0] for p in point] == depth.tolist()
        if batch >= len(config.rate_weights):
            assert {config.points()[p][1] for p in point} == set(range(len(config.rate_weights)))
        seen += point.tolist()
    assert set(seen) == set(range(len(config.points())))
    if len(stops) > 1:
        deepest = sum(config.points()[p][0] == max(stops) for p in seen) / len(seen)
        assert deepest == pytest.approx(0.7, abs=0.05)
