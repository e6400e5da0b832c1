import csv

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event, SessionLog

from raccoon_training.log import RunLog


def rows(path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def values(*bpp: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(bpp) for name in ("bpp", "split", "kl", "lambda")}


def test_means_of_steps_and_points(tmp_path):
    log = RunLog(tmp_path, 0, [(0, 0), (8, 0)])
    log.add(values(1, 2, 9), torch.tensor([0, 1, -1]))
    log.add(values(3, 4, 5), torch.tensor([0, 1, 1]))
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
        log = RunLog(tmp_path, start, [(0, 0)])
        for step in steps:
            log.add(values(1), torch.tensor([0]))
            log.write(step)
    for name in ("log.csv", "points.csv"):
        assert [int(row["step"]) for row in rows(tmp_path / name)] == [50, 100, 150, 200]


def test_without_points(tmp_path):
    log = RunLog(tmp_path, 0)
    log.add(values(1, 2))
    assert log.write(1)["bpp"] == pytest.approx(1.5)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["log.csv", "tensorboard"]


def test_a_line_that_a_full_disk_cut_off(tmp_path):
    (tmp_path / "log.csv").write_text("step,bpp,lr\n50,1,2\n100,1")
    RunLog(tmp_path, 100)
    assert [row["step"] for row in rows(tmp_path / "log.csv")] == ["50"]


def test_tensorboard_reads_it(tmp_path):
    """The event file: a version, the start of a session, and a scalar by its name."""
    log = RunLog(tmp_path, 5)
    log.add(values(1, 2))
    log.write(6)
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, events = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + size]))
        data = data[16 + size :]
    assert [event.step for event in events[-3:]] == [6, 6, 6]
    shown = {event.summary.value[0].tag: event.summary.value[0].simple_value for event in events if event.summary.value}
    assert shown["train/bpp"] == pytest.approx(1.5)
    assert any(event.session_log.status == SessionLog.START and event.step == 5 for event in events)
