"""Estimates rate and accuracy of a checkpoint of `train-paper`, without export. `--help` has examples."""

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from .checkpoint import read_checkpoint
from .images import has_split, load_photos
from .labels import class_indexes, folder_indexes
from .log import write_rows
from .mobilenet import MobileNetV2
from .paper import PaperModel
from .paper_config import PaperConfig, load_teacher
from .resnet import ResNet

BATCH = 25


class Score(NamedTuple):
    """Of a model on some photos; percentages but for bpp. `agreement` and `unsplit` need the unsplit network."""

    bpp: float
    top1: float
    agreement: float | None
    unsplit: float | None


def load_paper(path: Path) -> tuple[PaperModel, PaperConfig, dict]:
    """The model of a checkpoint, ready to use, its config, and all that was saved with it."""
    state = read_checkpoint(path, PaperConfig)
    config = PaperConfig.parse(state["config"])
    model = config.build(config.classifier())
    model.load_state_dict(state["model"])
    return model.eval().requires_grad_(False), config, state


@torch.no_grad()
def evaluate(
    model: PaperModel,
    config: PaperConfig,
    unsplit: ResNet | MobileNetV2 | None,
    pixels: torch.Tensor,
    labels: torch.Tensor,
) -> Score:
    """On photos (M, 3, H, W) with labels (M). The rate is the entropy model's, of rounded latents."""
    bits = right = agreeing = unsplit_right = 0.0
    for photos, truth in zip(
        tqdm(pixels.split(BATCH), desc="evaluate", unit="batch"), labels.split(BATCH), strict=True
    ):
        x = config.backbone.tensor(photos)
        passed = model(x)
        answer = passed.prediction.logits.argmax(1)
        bits += float(passed.bits.double().sum())
        right += int((answer == truth).sum())
        if unsplit is not None:
            teacher = unsplit(x).argmax(1)
            agreeing += int((answer == teacher).sum())
            unsplit_right += int((teacher == truth).sum())
    count = len(pixels)
    return Score(
        bits / pixels[:, 0].numel(),
        100 * right / count,
        None if unsplit is None else 100 * agreeing / count,
        None if unsplit is None else 100 * unsplit_right / count,
    )


def run(args: argparse.Namespace) -> Score:
    """Scores the checkpoint of `args.run`, prints the score and appends it to `eval.csv` beside it."""
    os.nice(args.nice)
    torch.set_num_threads(args.threads)
    model, config, saved = load_paper(args.run / "last.pt")
    model.to(memory_format=torch.channels_last)
    unsplit = load_teacher(args.weights) if args.weights else None
    split = "val" if has_split(args.data, "val") else "train"
    pixels, wnids = load_photos(args.data, split, size=config.size)
    labels = class_indexes(args.classes, wnids) if args.classes else folder_indexes(wnids, config.classes)
    every = max(1, len(pixels) // args.photos)  # spread over the classes, whatever the order of the photos
    pixels, labels = pixels[::every][: args.photos], labels[::every][: args.photos]
    score = evaluate(model, config, unsplit, pixels, labels)
    print(
        f"{config.model}, lambda {config.rate_weight}, step {saved['step']}, {len(pixels)} photos of {split}: "
        f"{score.bpp:.3f} bits per pixel, top-1 {score.top1:.1f} %"
    )
    write_rows(args.run / "eval.csv", [{"step": saved["step"], "photos": len(pixels), **score._asdict()}])
    return score


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of a run of train-paper (last.pt)")
    parser.add_argument(
        "--data", type=Path, required=True, help="photos, as for train-paper; takes val where there is one"
    )
    parser.add_argument("--weights", type=Path, help="the unsplit network, to compare with")
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}; else the sorted names of the folders")
    parser.add_argument("--photos", type=int, default=500, help="how many, spread over the split")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0, help="lowers the priority, beside a training run")
