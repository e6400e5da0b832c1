"""Depth, width and resolution of an encoder for a budget: compound shrinking (H. Kong, PhD thesis, NTU 2023, ch. 6).

    A_s(M) = a_s (M - M0)^2 + b_s (M - M0) + A0     accuracy when s alone is shrunk to M multiply-accumulates (6.6)
    C_s(M) = cuberoot(dA_d dA_w dA_r) / dA_s        dA_s = A0 - A_s(M): who loses much is to shrink little (6.4, 6.5)
    log(M / M0) is distributed in proportion to C_s; M ~ d w^2 r^2

The last line is ours: the thesis does not say how C_s becomes d, w and r. What comes out are settings for `train`, and
so for a sweep: they are networks to be trained, not weights.
"""

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from .blocks import BottleneckBlock
from .encoder import Encoder
from .exit_head import ExitHead
from .from_bundle import read_config, read_manifest
from .model import SplitConfig
from .shrink_costs import encoder_graph, time_graphs

DIMENSIONS = ("depth", "width", "resolution")
POWERS = (1, 2, 2)  # of d, w and r in the multiply-accumulates
LEAST_LOSS = 0.1  # points of accuracy: less is the samples' noise, and would make one dimension all
WIDTH_STEP, HIDDEN_STEP, SIZE_STEP = 8, 4, 32
LEAST_SIZE = 64
LEAST_SAMPLES = 2
WELL_USED = 0.9  # of the most that fits
LARGEST_SHARE = 0.99  # of the base: at the base itself nothing is lost, and no dimension differs from another
SEARCH_STEPS = 8  # of a bisection over multiply-accumulates, for a budget in time


class Sample(NamedTuple):
    """A network that was shrunk in one dimension, or the whole one. Accuracy in percent."""

    macs: float
    top1: float


class Setting(NamedTuple):
    """An encoder: blocks, channels of the trunk and of the blocks' hidden layers, px of the input; what it takes."""

    blocks: int
    width: int
    hidden: int
    size: int
    macs: int

    def json(self) -> dict[str, Any]:
        """As `train` names them."""
        return {
            "stops": [self.blocks], "encoder_width": self.width, "encoder_hidden": self.hidden, "size": self.size,
            "macs": self.macs,
        }  # fmt: skip


def fit_curve(base: Sample, samples: list[Sample]) -> Callable[[float], float]:
    """M -> accuracy lost at M multiply-accumulates: the parabola through the base, by least squares (6.6)."""
    distance = np.array([sample.macs / base.macs - 1 for sample in samples])
    change = np.array([sample.top1 - base.top1 for sample in samples])
    (a, b), *_ = np.linalg.lstsq(np.stack([distance**2, distance], 1), change, rcond=None)
    return lambda macs: -(a * (macs / base.macs - 1) ** 2 + b * (macs / base.macs - 1))


def coefficients(base: Sample, samples: dict[str, list[Sample]], macs: float) -> list[float]:
    """C_s of depth, width and resolution at `macs`; their product is 1 (6.5)."""
    losses = [max(LEAST_LOSS, fit_curve(base, samples[name])(macs)) for name in DIMENSIONS]
    return [math.prod(losses) ** (1 / 3) / loss for loss in losses]


def scales(of: list[float], share: float) -> list[float]:
    """Factors d, w, r with d w^2 r^2 = share, log(share) split in proportion to the coefficients."""
    return [share ** (c / sum(of) / power) for c, power in zip(of, POWERS, strict=True)]


def settings_of(config: SplitConfig) -> list[Setting]:
    """All encoders that are no larger than the config's deepest in any dimension, hidden layers in proportion."""
    ratio = config.encoder_hidden / config.encoder_width
    depths = tuple(range(1, config.stops[-1] + 1))
    settings = []
    for width in range(WIDTH_STEP, config.encoder_width + 1, WIDTH_STEP):
        hidden = max(HIDDEN_STEP, HIDDEN_STEP * round(width * ratio / HIDDEN_STEP))
        with torch.device("meta"):  # to be counted, not run
            encoder = Encoder(width, hidden, config.latent_channels, depths, BottleneckBlock)
            exit_head = ExitHead(width, config.exit_hidden, config.classes)
        for blocks, size in product(depths, range(LEAST_SIZE, config.size + 1, SIZE_STEP)):
            macs = encoder.macs(size, size, blocks) + exit_head.macs(size // 8, size // 8)
            settings.append(Setting(blocks, width, hidden, size, macs))
    return settings


def choose_setting(
    config: SplitConfig, base: Sample, samples: dict[str, list[Sample]], macs: float, among: list[Setting]
) -> Setting:
    """Of the settings that use a budget well, the one nearest to the compound rule.

    Nearness is in logarithms of the multiply-accumulates that each dimension takes, to any point of the rule's line:
    patch, projection and exit do not shrink with the blocks, so d w^2 r^2 is not quite the encoder's share.
    """
    within = [setting for setting in among if setting.macs <= macs]
    if not within:
        least = min(setting.macs for setting in among)
        raise ValueError(f"{macs / 1e6:.1f} M multiply-accumulates are too little: the least is {least / 1e6:.1f} M")
    whole = (config.stops[-1], config.encoder_width, config.size)
    of = coefficients(base, samples, min(macs, LARGEST_SHARE * base.macs))
    line = np.array([
        [power * math.log(scale) for power, scale in zip(POWERS, scales(of, share), strict=True)]
        for share in np.geomspace(0.001, 1, 400)
    ])  # fmt: skip

    def distance(setting: Setting) -> float:
        own = (setting.blocks, setting.width, setting.size)
        place = [power * math.log(part / all_) for power, part, all_ in zip(POWERS, own, whole, strict=True)]
        return float(np.square(line - place).sum(1).min())

    most = max(setting.macs for setting in within)
    return min((setting for setting in within if setting.macs >= WELL_USED * most), key=distance)


def fastest_within(
    config: SplitConfig, ms: float, threads: int, among: list[Setting], choose: Callable[[float], Setting]
) -> Setting:
    """The largest setting that `choose` finds for a number of multiply-accumulates and this machine runs in `ms`."""
    times: dict[Setting, float] = {}

    def fits(setting: Setting) -> bool:
        if setting not in times:
            shape = replace(config, encoder_width=setting.width, size=setting.size, stops=(setting.blocks,))
            graph = encoder_graph(shape, setting.blocks, setting.hidden)
            times[setting] = time_graphs({setting: graph}, threads)[setting] / 1000
        return times[setting] <= ms

    low, high = (float(end(setting.macs for setting in among)) for end in (min, max))
    if not fits(choose(low)):
        raise ValueError(f"{ms:g} ms are too little: the least encoder takes {times[choose(low)]:.2f} ms here")
    for _ in range(SEARCH_STEPS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(choose(middle)) else (low, middle)
    return choose(low)


def read_samples(path: Path) -> tuple[Sample, dict[str, list[Sample]]]:
    """The whole network, and at least two samples of each dimension. Raises ValueError for anything else."""
    try:
        content = json.loads(path.read_text())
        base = Sample(content["base"]["macs"], content["base"]["top1"])
        samples = {name: [Sample(of["macs"], of["top1"]) for of in content[name]] for name in DIMENSIONS}
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} has no samples ({error}): "
            "{base: {macs, top1}, depth: [{macs, top1}, ...], width: [...], resolution: [...]} is what belongs there"
        ) from error
    for name, of in samples.items():
        if len({sample.macs for sample in of if sample.macs < base.macs}) < LEAST_SAMPLES:
            raise ValueError(f"{path}: a parabola needs {LEAST_SAMPLES} samples of {name} smaller than the base")
    return base, samples


def run(args: argparse.Namespace) -> list[Setting]:
    """Prints a setting for each budget."""
    config = read_config(args.bundle, read_manifest(args.bundle))
    base, samples = read_samples(args.samples)
    among = settings_of(config)

    def choose(macs: float) -> Setting:
        return choose_setting(config, base, samples, macs, among)

    settings = [choose(macs) for macs in args.macs or ()]
    settings += [fastest_within(config, ms, args.threads, among, choose) for ms in args.budget_ms or ()]
    if args.json:
        print(json.dumps([setting.json() for setting in settings]))
    else:
        for blocks, width, hidden, size, macs in settings:
            options = f"--stops {blocks} --encoder-width {width} --encoder-hidden {hidden} --size {size}"
            print(f"{macs / 1e6:.1f} MMAC: train {options}")
    return settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, help="whose encoder is shrunk: widths, blocks, size")
    parser.add_argument(
        "--samples", type=Path, required=True,
        help="JSON: base, and networks shrunk in one dimension: {base: {macs, top1}, depth: [...], width, resolution}",
    )  # fmt: skip
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--macs", type=float, nargs="+", help="multiply-accumulates of the encoder")
    budget.add_argument("--budget-ms", type=float, nargs="+", help="of the encoder on this machine, measured")
    parser.add_argument("--threads", type=int, default=1, help="of the encoder whose time is measured")
    parser.add_argument("--json", action="store_true", help="for programs: a list of settings as `train` names them")
