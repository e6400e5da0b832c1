"""Turns a checkpoint of train-classifier into weights to be split, and scores them. `--help` has examples."""

import argparse
import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from .checkpoint import read_checkpoint
from .classifier_config import ClassifierConfig
from .images import has_split, load_photos
from .labels import class_indexes, folder_indexes
from .log import write_rows
from .resnet import ResNet, normalise

BATCH = 50
STATISTICS_PHOTOS = 1024  # of the train split, for the BatchNorms


@torch.no_grad()
def settle(network: ResNet, pixels: torch.Tensor, *, bf16: bool) -> None:
    """Takes the BatchNorms' means and variances from whole photos (M, 3, H, W), as the network will see them.

    It was trained on smaller and closer crops, whose statistics are others (Touvron et al. 2019, arXiv 1906.06423).
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
    network.train()
    for photos in pixels.split(BATCH):
        _logits(network, photos, bf16)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@torch.no_grad()
def top1(network: ResNet, pixels: torch.Tensor, labels: torch.Tensor, *, bf16: bool) -> float:
    """In percent, on photos (M, 3, H, W) with labels (M)."""
    batches = tqdm(list(zip(pixels.split(BATCH), labels.split(BATCH), strict=True)), desc="evaluate", unit="batch")
    right = sum(int((_logits(network, photos, bf16).argmax(1).cpu() == truth).sum()) for photos, truth in batches)
    return 100 * right / len(pixels)


def _logits(network: ResNet, pixels: torch.Tensor, bf16: bool) -> torch.Tensor:
    device = network.fc.weight.device
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return network(normalise(pixels.to(device)).contiguous(memory_format=torch.channels_last))


def finish(args: argparse.Namespace, checkpoint: Path, device: torch.device) -> Path:
    """Writes `weights.safetensors` beside the checkpoint, scores it, and returns its path.

    The file has torchvision's names, and as metadata where it comes from.
    """
    saved = read_checkpoint(checkpoint, ClassifierConfig, device)
    config = ClassifierConfig.parse(saved["config"])
    network = ResNet(config.depth, config.classes).to(device, memory_format=torch.channels_last)
    prefix = "network."
    own = {name.removeprefix(prefix): w for name, w in saved["model"].items() if name.startswith(prefix)}
    network.load_state_dict(own)
    settle(network, load_photos(args.data, "train", STATISTICS_PHOTOS)[0], bf16=args.bf16)

    split = "val" if has_split(args.data, "val") else "train"
    pixels, wnids = load_photos(args.data, split)
    labels = class_indexes(args.classes, wnids) if args.classes else folder_indexes(wnids, config.classes)
    every = max(1, len(pixels) // args.photos)  # spread over the classes, whatever the order of the photos
    pixels, labels = pixels[::every][: args.photos], labels[::every][: args.photos]
    score = top1(network, pixels, labels, bf16=args.bf16)
    print(f"ResNet-{config.depth}, step {saved['step']}: top-1 {score:.1f} % on {len(pixels)} photos of {split}")
    write_rows(checkpoint.parent / "eval.csv", [{"step": saved["step"], "photos": len(pixels), "top1": score}])

    origin = {name: saved[name] for name in ("step", "photos", "seconds", "seed", "machine", "command")}
    origin |= {"top1": {"data": f"{args.data.name} {split}", "images": len(pixels), "percent": round(score, 2)}}
    weights = checkpoint.with_name("weights.safetensors")
    new = weights.with_suffix(".tmp")
    state = {name: w.contiguous().cpu() for name, w in network.state_dict().items()}
    save_file(state, new, metadata={"training": json.dumps(origin)})
    new.rename(weights)
    return weights


def run(args: argparse.Namespace) -> Path:
    """Finishes the checkpoint of `args.run` as it is now; the run may go on beside."""
    os.nice(args.nice)
    torch.set_num_threads(args.threads)
    return finish(args, args.run / "last.pt", torch.device("cpu"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of a run of train-classifier (last.pt)")
    parser.add_argument("--data", type=Path, required=True, help="photos, as for train-classifier; scores on val")
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}; else the sorted names of the folders")
    parser.add_argument("--photos", type=int, default=50_000, help="how many at most, spread over the split")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--nice", type=int, default=0, help="lowers the priority, beside a training run")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="in float32")
