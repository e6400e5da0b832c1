"""Adapting an edge's half to one's own photos: what it begins with, which photos judge it, and what it has gained."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .checkpoint import load_average
from .evaluate import PointScore, evaluate
from .from_bundle import fit_density, load_bundle, load_bundle_network
from .images import Photo, has_split, list_photos
from .log import write_rows
from .model import SplitModel
from .networks import SplitNetwork, load_network

HELD_OUT = 10  # of photos without a split `val`, every so many-th judges and does not teach
PLACES = 200  # between the lowest and the highest common rate


def is_bundle(source: Path) -> bool:
    return (source / "manifest.json").exists()


def load_learned(source: Path) -> SplitModel:
    """The averaged model of a run's folder, or the model of a bundle, frozen."""
    if not is_bundle(source):
        return load_average(source / "last.pt")[0]
    model, tables, _ = load_bundle(source)
    fit_density(model, tables)
    return model


def load_unsplit(weights: Path | None, source: Path | None) -> SplitNetwork:
    """The frozen unsplit network: of a file of weights, or of the bundle `source`."""
    if weights:
        return load_network(weights)
    if source is None or not is_bundle(source):
        raise ValueError("--weights is missing: the network to split. Only a bundle brings its own")
    return load_bundle_network(source)


def teaching_photos(data: Path) -> list[Photo]:
    """Those that teach: the split `train`; where there is no split `val`, all but those that judge."""
    photos = list_photos(data, "train")
    return photos if has_split(data, "val") else [photo for i, photo in enumerate(photos) if i % HELD_OUT]


def judging_photos(data: Path, count: int) -> list[Photo]:
    """Up to `count` photos that do not teach, spread evenly over all that do not."""
    photos = list_photos(data, "val") if has_split(data, "val") else list_photos(data, "train")[::HELD_OUT]
    return [photos[i * len(photos) // count] for i in range(count)] if len(photos) > count else photos


class Gain(NamedTuple):
    """What the edge's half with n blocks has gained, at rates that it had before and has now."""

    n: int
    low: float  # common rates, bits per pixel
    high: float
    agreement: float  # points of agreement with the unsplit network more, mean over ln bpp; nan without common rates


def gains(before: Sequence[PointScore], after: Sequence[PointScore]) -> list[Gain]:
    """Of each n: both curves as straight lines in ln bpp."""
    result = []
    for n in sorted({score.n for score in before}):
        old, new = (sorted((s.bpp, s.agreement) for s in scores if s.n == n) for scores in (before, after))
        low, high = max(old[0][0], new[0][0]), min(old[-1][0], new[-1][0])
        places = np.linspace(np.log(low), np.log(high), PLACES)
        at = [np.interp(places, np.log([bpp for bpp, _ in curve]), [y for _, y in curve]) for curve in (old, new)]
        result.append(Gain(n, low, high, float((at[1] - at[0]).mean()) if low <= high else float("nan")))
    return result


def report_gain(
    file: Path, before: SplitModel, after: SplitModel, network: SplitNetwork, pixels: torch.Tensor
) -> list[Gain]:
    """Scores both models on photos (M, 3, H, W), prints what has changed and writes it to a CSV file."""
    nothing = torch.zeros(len(pixels), dtype=torch.long)  # no labels: agreement needs none
    old, new = (evaluate(model, network, pixels, nothing, bf16=False)[1] for model in (before, after))
    print(f"on {len(pixels)} photos that taught nothing; agreement with the unsplit network, rates estimated")
    print("  n  q    bpp   agree %  ->    bpp   agree %")
    rows = []
    for a, b in zip(old, new, strict=True):
        print(f"{a.n:3} {a.q:2} {a.bpp:6.3f} {a.agreement:9.1f}  -> {b.bpp:6.3f} {b.agreement:9.1f}")
        rows.append({
            "n": a.n, "q": a.q, "photos": len(pixels), "bpp_before": a.bpp, "agreement_before": a.agreement,
            "bpp_after": b.bpp, "agreement_after": b.agreement,
        })  # fmt: skip
    file.unlink(missing_ok=True)
    write_rows(file, rows)
    result = gains(old, new)
    for gain in result:
        rates = f"mean from {gain.low:.3f} to {gain.high:.3f} bpp"
        print(f"n={gain.n}: {gain.agreement:+.1f} points of agreement at equal rate, {rates}")
    return result
