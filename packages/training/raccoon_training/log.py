"""The logs of a training run: CSV files, and the same numbers for TensorBoard.

`log.csv` has a line every so many steps; `points.csv`, where there are several operating points, one for each of them,
over its images with all channels.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar


def write_rows(path: Path, rows: list[dict]) -> None:
    """Appends rows to a CSV file, with a header if it is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        if new:
            writer.writeheader()
        writer.writerows(rows)


class Board:
    """TensorBoard's event file, written in this thread: tensorboardX's own would wait for ever on a full disk."""

    def __init__(self, folder: Path, step: int):
        folder.mkdir(parents=True, exist_ok=True)
        self.events = EventsWriter(str(folder / "events"))
        self.events.write_event(Event(step=step, file_version="brain.Event:2"))
        # what a run that is resumed here had written after this step counts no more
        self.events.write_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.events.write_event(Event(step=step, summary=scalar(name, value)))
        self.events.flush()


class RunLog:
    """Collects what each image of each step cost; `write` averages it."""

    def __init__(self, run: Path, step: int, points: Sequence[tuple[int, int]] = ()):
        """points: (n, q) of the operating points, where there are several."""
        self.run, self.points = run, points
        for path in (run / "log.csv", run / "points.csv"):
            _forget_after(path, step)
        self.board = Board(run / "tensorboard", step)
        self.columns: list[str] = []
        self.images: list[torch.Tensor] = []  # (B, 1 + columns): operating point, columns

    def add(self, values: dict[str, torch.Tensor], point: torch.Tensor | None = None) -> None:
        """One step: named values (B), and the operating point (B) of each image, -1 where not all channels are kept."""
        self.columns = list(values)
        own = next(iter(values.values())) * 0 - 1 if point is None else point
        self.images.append(torch.stack([own, *values.values()], 1).detach().float())

    def write(self, step: int, **more: float) -> dict[str, float]:
        """Writes the means since the last call; `more` are further columns of log.csv. Returns the means."""
        images = torch.cat(self.images).cpu()
        self.images.clear()
        mean = more | dict(zip(self.columns, images[:, 1:].mean(0).tolist(), strict=True))
        shown = {f"train/{name}": value for name, value in mean.items()}
        rows = []
        for p, (n, q) in enumerate(self.points):
            own = images[images[:, 0] == p, 1:]
            if len(own):
                values = dict(zip(self.columns, own.mean(0).tolist(), strict=True))
                rows.append({"step": step, "n": n, "q": q, "images": len(own), **values})
                shown |= {f"{name}/n{n}q{q}": values[name] for name in ("bpp", "split", "kl", "lambda")}
        try:
            write_rows(self.run / "log.csv", [{"step": step, **mean}])
            if rows:
                write_rows(self.run / "points.csv", rows)
            self.board.write(step, shown)
        except OSError as error:
            raise OSError(f"cannot write the logs in {self.run}: {error.strerror}. Make room and resume") from error
        return mean


def _forget_after(path: Path, step: int) -> None:
    """Drops the rows of a CSV file that a resumed run is about to write again, and one that a full disk cut off."""
    if path.exists():
        with path.open(newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
        if not kept:
            path.unlink()
        elif kept != rows:
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([header, *kept])
