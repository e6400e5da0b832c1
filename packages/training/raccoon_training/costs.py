"""What trainings cost, in multiply-accumulates, without running them: for `raccoon sweep`.

Reads a JSON list of trainings, each [command, [options]] as one would type them, from stdin; writes a JSON list of
{edgeMacs, cloudMacs, trainMacsPerImage}. Convolutions and matrix products are counted, as everywhere in Raccoon.
"""

import argparse
import json
import sys

import torch
from torch import nn

from . import train, train_paper
from .model import SplitConfig, SplitModel
from .networks import load_network
from .paper_config import Backbone, PaperConfig, load_teacher
from .resnet import ResNet

BACKWARD = 2  # a backward pass costs two forward passes: one for the inputs' gradient, one for the weights'
HOLDING = 1  # through a part that does not learn only the first


def count_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-accumulates of one pass, from the shapes of a pass without values (device meta)."""
    total = 0

    def count(layer: nn.Module, given: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        values = given[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += values[0].numel() * layer.weight[0].numel()

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    hooks = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, kinds)]
    with torch.no_grad():
        module(*inputs)
    for hook in hooks:
        hook.remove()
    return total


class _Called(nn.Module):
    """A part of a module as a module."""

    def __init__(self, owner: nn.Module, name: str):
        super().__init__()
        self.owner, self.name = owner, name

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return getattr(self.owner, self.name)(*inputs)


def split_costs(config: SplitConfig, network: nn.Module, deep: float, reuse: int, head: float) -> dict:
    """Of the universal model. deep: share of the images that go all the way; head: that are seen without the tail."""
    image = torch.empty(1, 3, config.size, config.size, device="meta")
    network = network.to("meta")
    model = SplitModel(config).to("meta")
    h = config.size // 8
    stem = count_macs(_Called(network, "stem"), image)
    tail = count_macs(_Called(network, "tail"), torch.empty(1, config.feature_channels, h, h, device="meta"))
    edge = [model.encoder.macs(config.size, config.size, n) + model.exits[str(n)].macs(h, h) for n in config.stops]
    decoder = model.decoder.macs(h, h)
    shallow = edge[:-1]
    mean = edge[-1] if not shallow else deep * edge[-1] + (1 - deep) * sum(shallow) / len(shallow)
    through = (1 + (BACKWARD if config.joint else HOLDING)) * tail
    per_image = (1 + BACKWARD) * (mean + decoder) + (1 - head) * (through + tail / reuse) + stem / reuse
    return {"edgeMacs": edge, "cloudMacs": decoder + tail, "trainMacsPerImage": round(per_image)}


def paper_costs(config: PaperConfig, unsplit: nn.Module | None, reuse: int, head: float) -> dict:
    """Of one of the paper's models, or its baseline: a mean over its stages. head: images seen without the tail."""
    image = torch.empty(1, 3, config.size, config.size, device="meta")
    unsplit = None if unsplit is None else unsplit.to("meta")
    model = config.build(config.classifier()).to("meta").eval()
    edge = count_macs(model.encoder, image)
    latent = model.encoder(image)
    decoder = count_macs(model.decoder, latent)
    tail = count_macs(_Called(model.classifier, "tail"), model.decoder(latent))
    teacher = 0 if unsplit is None else count_macs(unsplit, image) / max(1, reuse)
    per_image = 0.0
    for i, stage in enumerate(config.stages):
        without = min(1.0, max(0.0, head * len(config.stages) - i))  # share of the stage
        costs = {"encoder": edge, "decoder": decoder, "classifier": tail * (1 - without)}
        per_image += teacher + sum(
            cost * (1 + (0 if part == "encoder" else HOLDING) if part in stage.frozen else 1 + BACKWARD)
            for part, cost in costs.items()
        ) / len(config.stages)
    return {"edgeMacs": [edge], "cloudMacs": decoder + tail, "trainMacsPerImage": round(per_image)}


def costs_of(command: str, options: list[str]) -> dict:
    """Of one training, from its command line."""
    parser = argparse.ArgumentParser()
    if command == "train":
        train.add_arguments(parser)
        args = parser.parse_args(options)
        network = load_network(args.weights)
        widths = {name: vars(args)[name] for name in train.WIDTHS if vars(args)[name]}
        config = SplitConfig.beside(
            network, stops=tuple(args.stops), rate_targets=tuple(args.rate_targets), joint=args.joint,
            condition=args.condition, size=args.size, **widths,
        )  # fmt: skip
        head = args.head_start / (args.head_start + args.epochs)
        return split_costs(config, network, args.deep, args.reuse, head)
    train_paper.add_arguments(parser)
    args = parser.parse_args(options)
    unsplit = load_teacher(args.weights) if args.weights else None
    if isinstance(unsplit, ResNet):
        backbone = Backbone(f"resnet{unsplit.depth}", unsplit.fc.out_features)
    else:
        backbone = Backbone("mobilenet" if unsplit else f"resnet{args.depth}", unsplit.classes if unsplit else 1000)
    head = train_paper.recipe_of(args).head_start
    return paper_costs(train_paper.config_of(args, backbone, unsplit is not None), unsplit, args.reuse, head)


def run(_: argparse.Namespace) -> None:
    json.dump([costs_of(command, options) for command, options in json.load(sys.stdin)], sys.stdout)


def add_arguments(_: argparse.ArgumentParser) -> None:
    """None: the trainings come from stdin."""
