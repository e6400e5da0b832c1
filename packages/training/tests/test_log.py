import csv

import pytest
import torch

from raccoon_training.log import RunLog


def rows(path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def values(*bpp: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(bpp) for name in ("bpp", "split", "kl", "lambda")}


def test_means_of_steps_and_points(tmp_path):
    log = RunLog(tmp_path, [(0, 0), (8, 0)], 0)
    log.add(torch.tensor([0, 1, 1]), torch.tensor([True, True, False]), values(1, 2, 9))
    log.add(torch.tensor([0, 1, 1]), torch.tensor([True, True, True]), values(3, 4, 5))
    mean = log.write(2, lr=0.1)
    assert mean["bpp"] == pytest.approx(4) and mean["lr"] == 0.1
    (line,) = rows(tmp_path / "log.csv")
    assert (line["step"], float(line["bpp"]), float(line["lr"])) == ("2", pytest.approx(4), 0.1)
    by_point = rows(tmp_path / "points.csv")
    assert [(r["n"], r["q"], r["images"], float(r["bpp"])) for r in by_point] == [
        ("0", "0", "2", pytest.approx(2)), ("8", "0", "3", pytest.approx(11 / 3)),  # not the one without all channels
    ]  # fmt: skip
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_a_resumed_run_writes_no_step_twice(tmp_path):
    for start, steps in ((0, (50, 100, 150)), (110, (150, 200))):
        log = RunLog(tmp_path, [(0, 0)], start)
        for step in steps:
            log.add(torch.tensor([0]), torch.tensor([True]), values(1))
            log.write(step)
    for name in ("log.csv", "points.csv"):
        assert [int(row["step"]) for row in rows(tmp_path / name)] == [50, 100, 150, 200]
