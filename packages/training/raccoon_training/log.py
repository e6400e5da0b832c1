"""The logs of a training run: two CSV files, and the same numbers for TensorBoard.

`log.csv` has a line every so many steps; `points.csv` one for each operating point, over its images with all channels.
"""

import csv
from pathlib import Path

import torch
from tensorboardX import SummaryWriter


def write_rows(path: Path, rows: list[dict]) -> None:
    """Appends rows to a CSV file, with a header if it is new."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        if new:
            writer.writeheader()
        writer.writerows(rows)


class RunLog:
    """Collects what each image of each step cost; `write` averages it."""

    def __init__(self, run: Path, points: list[tuple[int, int]], step: int):
        self.run, self.points = run, points
        for path in (run / "log.csv", run / "points.csv"):
            _forget_after(path, step)
        self.board = SummaryWriter(str(run / "tensorboard"), purge_step=step)
        self.columns: list[str] = []
        self.images: list[torch.Tensor] = []  # (B, 2 + columns): point, whether it kept all channels, columns

    def add(self, point: torch.Tensor, entire: torch.Tensor, values: dict[str, torch.Tensor]) -> None:
        """One step: operating point (B), whether all channels were kept (B), and named values (B)."""
        self.columns = list(values)
        self.images.append(torch.stack([point, entire, *values.values()], 1).detach().float().cpu())

    def write(self, step: int, **more: float) -> dict[str, float]:
        """Writes the means since the last call; `more` are further columns of log.csv. Returns the means."""
        images = torch.cat(self.images)
        self.images.clear()
        mean = more | dict(zip(self.columns, images[:, 2:].mean(0).tolist(), strict=True))
        rows = []
        for p, (n, q) in enumerate(self.points):
            own = images[(images[:, 0] == p) & (images[:, 1] == 1), 2:]
            if len(own):
                values = dict(zip(self.columns, own.mean(0).tolist(), strict=True))
                rows.append({"step": step, "n": n, "q": q, "images": len(own), **values})
                for name in ("bpp", "split", "kl", "lambda"):
                    self.board.add_scalar(f"{name}/n{n}q{q}", values[name], step)
        write_rows(self.run / "log.csv", [{"step": step, **mean}])
        if rows:
            write_rows(self.run / "points.csv", rows)
        for name, value in mean.items():
            self.board.add_scalar(f"train/{name}", value, step)
        self.board.flush()
        return mean


def _forget_after(path: Path, step: int) -> None:
    """Drops the rows of a CSV file that a resumed run is about to write again."""
    if path.exists():
        with path.open(newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *(row for row in rows if int(row[0]) <= step)])
