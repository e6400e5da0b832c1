"""Estimates rate and accuracy of a run's checkpoint per operating point, without export. `--help` has examples.

For the course of a training run: rates are the entropy model's, the codec is not run. What counts is
`raccoon eval` on the exported bundle.
"""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from .checkpoint import check_network, load_average
from .images import has_split, load_photos, normalise
from .labels import class_indexes
from .log import write_rows
from .model import SplitModel
from .networks import SplitNetwork, load_network
from .noise import Noise

BATCH = 50
NOISE_SEED = 6
ACTIVE_BITS = 0.01  # a channel counts as active above this many bits a position


class PointScore(NamedTuple):
    """One operating point on some photos. Percentages but for bpp; `active` counts channels."""

    n: int
    q: int
    bpp: float
    top1: float
    agreement: float  # of the split network's first class with the unsplit one's
    exit_top1: float
    active: int


@torch.no_grad()
def evaluate(
    model: SplitModel,
    network: SplitNetwork,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    *,
    points: list[int] | None = None,
    share: float = 1.0,
    sigma: float = 0.0,
    bf16: bool = True,
) -> tuple[float, list[PointScore]]:
    """Top-1 of the unsplit network, and every operating point's score, on photos (M, 3, H, W) with labels (M).

    points: their indexes, all by default. share: only this prefix of the channels is sent.
    sigma: deviation of the noise that both networks see, on pixels from 0 to 1.
    """
    config, device = model.config, next(model.parameters()).device
    points = list(range(len(config.points()))) if points is None else points
    kept = round(share * config.latent_channels)
    right, agreeing, exit_right = (torch.zeros(len(config.points())) for _ in range(3))
    bits = torch.zeros(len(config.points()), config.latent_channels)
    unsplit_right = 0
    batches = list(zip(pixels.split(BATCH), labels.to(device).split(BATCH), strict=True))
    classifier = model.classifier or network
    for i, (photos, truth) in enumerate(tqdm(batches, desc="evaluate", unit="batch")):
        x = normalise(photos.to(device)).contiguous(memory_format=torch.channels_last)
        if sigma:
            x = x + 2 * sigma * Noise(NOISE_SEED, i, range(len(x))).normal(x.shape[1:]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            unsplit = network(x).argmax(1)
            unsplit_right += int((unsplit == truth).sum())
            trunks = {n: model.encoder.trunk(x, n) for n in {config.points()[p][0] for p in points}}
            for p in points:
                n, _ = config.points()[p]
                trunk, point = trunks[n], torch.full_like(truth, p)
                symbols = model.quantise(model.encoder.project[str(n)](trunk), point)
                symbols[:, kept:] = 0
                answer = classifier.tail(model.decoder(model.dequantise(symbols, point), point))[0].argmax(1)
                right[p] += (answer == truth).sum().cpu()
                agreeing[p] += (answer == unsplit).sum().cpu()
                exit_right[p] += (model.exits[str(n)](trunk).argmax(1) == truth).sum().cpu()
                bits[p, :kept] += model.symbol_bits(symbols, point)[:, :kept].sum(0).cpu()
    count, area = len(pixels), pixels.shape[2] * pixels.shape[3]
    active = bits > ACTIVE_BITS * count * area / 64
    return 100 * unsplit_right / count, [
        PointScore(
            *config.points()[p], float(bits[p].sum()) / count / area, 100 * float(right[p]) / count,
            100 * float(agreeing[p]) / count, 100 * float(exit_right[p]) / count, int(active[p].sum()),
        )
        for p in points
    ]  # fmt: skip


def run(args: argparse.Namespace) -> list[PointScore]:
    """Scores the checkpoint of `args.run`, prints the table and appends it to `eval.csv` beside it."""
    os.nice(args.nice)
    torch.set_num_threads(args.threads)
    model, saved = load_average(args.run / "last.pt")
    network = load_network(args.weights)
    check_network(args.run, model.config, args.weights, network)
    pixels, wnids = load_photos(args.data, "val" if has_split(args.data, "val") else "train")
    labels = class_indexes(args.classes, wnids, network.classes)
    every = max(1, len(pixels) // args.photos)  # spread over the classes, whatever the order of the photos
    pixels, labels = pixels[::every][: args.photos], labels[::every][: args.photos]
    points = [
        p for p, (n, q) in enumerate(model.config.points())
        if (not args.blocks or n in args.blocks) and (not args.rates or q in args.rates)
    ]  # fmt: skip
    unsplit, scores = evaluate(
        model, network, pixels, labels, points=points, share=args.channels, sigma=args.sigma, bf16=args.bf16
    )
    print(f"step {saved['step']}, {len(pixels)} photos, {args.channels:.0%} of the channels; unsplit {unsplit:.1f} %")
    print("  n  q    bpp  top1 %  agree %  exit %  active channels")
    for s in scores:
        print(f"{s.n:3} {s.q:2} {s.bpp:6.3f} {s.top1:7.1f} {s.agreement:8.1f} {s.exit_top1:7.1f} {s.active:8}")
    common = {"step": saved["step"], "photos": len(pixels), "channels": args.channels, "unsplit": unsplit}
    write_rows(args.run / "eval.csv", [common | s._asdict() | {"sigma": args.sigma} for s in scores])
    return scores


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run (last.pt)")
    parser.add_argument("--weights", type=Path, required=True, help="of the unsplit network, as for train")
    parser.add_argument("--data", type=Path, required=True, help="photos, as for train; takes val where there is one")
    parser.add_argument("--classes", type=Path, required=True, help="JSON list of {wnid, name}, the network's classes")
    parser.add_argument("--photos", type=int, default=500, help="how many, spread over the split")
    parser.add_argument("--blocks", type=int, nargs="*", help="only these n")
    parser.add_argument("--rates", type=int, nargs="*", help="only these q")
    parser.add_argument("--channels", type=float, default=1.0, help="only this prefix of the channels is sent (share)")
    parser.add_argument("--sigma", type=float, default=0.0, help="deviation of noise on pixels from 0 to 1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0, help="lowers the priority, beside a training run")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="in float32")
