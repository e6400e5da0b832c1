"""Trains a split model against the unsplit network, label-free or with labels. Resumes; `--help` has examples."""

import argparse
import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .adapt import judging_photos, load_learned, load_unsplit, report_gain, teaching_photos
from .batches import Batches
from .checkpoint import check_network
from .decoder import CONDITIONS
from .group import Group, join
from .images import AUGMENT_DRAWS, SIZE, augment, count_skipped, decode_photos, list_photos, normalise
from .labels import class_indexes
from .loss import LABEL_FREE, Prediction, prediction_error, single_stage_loss
from .model import SplitConfig, SplitModel
from .networks import SplitNetwork
from .noise import Noise
from .rate_control import RateControl
from .run import Run
from .schedule import image_size, learning_rate
from .teacher import Teacher, predict

DENSITY_SPEED = 3  # the densities have to follow the latents, so they learn faster
CLASSIFIER_SPEED = 0.1  # what is behind the split has learned already
MEDIAN_STEPS = 50  # the centres of rounding follow the densities every so many steps
CALIBRATION = 256  # photos that the model's start is taken from
WIDTHS = ("encoder_width", "encoder_hidden", "latent_channels")  # options as the config has them
GAIN_PHOTOS = 500  # that say what an edge's half has gained


@torch.no_grad()
def channel_variance(network: SplitNetwork, features: torch.Tensor) -> list[torch.Tensor]:
    """Variance per channel of the unsplit network's features (B, F, h, w) and of those at its taps."""
    return [f.var((0, 2, 3)) + 1e-4 for f in (features, *network.tail(features)[1])]


def sample_points(config: SplitConfig, count: int, deep: float, generator: torch.Generator) -> torch.Tensor:
    """An operating point for each image: (count).

    The deepest stop for a share `deep`, the other stops and all rates equally often. Spread evenly over the
    batch, so that a batch of 32 always has the shallowest and the deepest, at the lowest and the highest rate.
    """
    rates, shallow = len(config.rate_targets), len(config.stops) - 1
    if shallow == 0:
        deep = 1.0
    place = (torch.arange(count) + torch.rand(1, generator=generator)) / count
    stop = torch.where(place >= 1 - deep, shallow, (place / max(1e-9, 1 - deep) * shallow).long().clamp(max=shallow))
    rate = (torch.arange(count) + torch.randint(rates, (1,), generator=generator)) % rates
    return stop * rates + rate


def sample_channels(channels: int, count: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """How many channels each image keeps: (count). For a share of the images a random prefix, at least a quarter."""
    prefix = channels // 4 + (torch.rand(count, generator=generator) * (channels - channels // 4)).long()
    return torch.where(torch.rand(count, generator=generator) < share, prefix, channels)


def augmentation(count: int, seed: int, variant: tuple[int, int]) -> torch.Tensor:
    """The random numbers (count, 8) of every photo's augmentation while `variant` lasts."""
    return torch.from_numpy(np.random.default_rng([seed, 1, *variant]).random((count, AUGMENT_DRAWS), np.float32))


@torch.no_grad()
def follow(average: SplitModel, model: SplitModel, step: int, decay: float) -> None:
    """Moves the exponential moving average of the weights one step on. It begins faster than `decay`."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, share)


class Objective(nn.Module):
    """The loss of a process's share of a batch, from tensors to a number: one module, as DDP wants it."""

    def __init__(self, model: SplitModel, network: SplitNetwork, variances: Sequence[torch.Tensor], bf16: bool):
        super().__init__()
        self.model, self.variances, self.bf16 = model, variances, bf16
        self.classifier = model.classifier or network  # what is behind the split, trained or as it was

    def forward(
        self,
        x: torch.Tensor,
        unsplit_network: Prediction,
        *,
        labels: torch.Tensor | None,
        point: torch.Tensor,
        channels: torch.Tensor,
        rate_weight: torch.Tensor,
        share: torch.Tensor,
        noise: Noise,
        rounding: bool,
        tail: float,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss, and what the log says of each image (B).

        As `SplitModel.forward`; share: how much each image counts (B). tail: weight of what is behind the split; the
        unsplit network's answer has logits when that counts at all.
        """
        whole_loss = unsplit_network.logits is not None
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16):
            result = self.model(x, point, channels, rate_weight, noise, rounding=rounding)
            split_network = predict(self.classifier, result.features) if whole_loss else Prediction([result.features])
        noisy_bpp, bpp = (bits / (x.shape[2] * x.shape[3]) for bits in (result.bits, result.coded_bits))  # (B)
        terms = single_stage_loss(
            noisy_bpp,  # its gradient already has lambda
            split_network,
            unsplit_network,
            LABEL_FREE,
            variances=self.variances[: len(split_network.features)],
            labels=labels,
            tail=tail,
        )
        loss = (share * terms.total).mean()
        exit_kl = agreement = torch.zeros_like(bpp)
        if whole_loss:
            exit_kl = prediction_error(result.exit_logits, unsplit_network.logits)
            loss = loss + exit_kl.mean()
            agreement = 100.0 * (split_network.logits.argmax(1) == unsplit_network.logits.argmax(1))
        values = {
            "loss": terms.total - noisy_bpp + rate_weight * bpp, "bpp": bpp, "split": terms.split, "taps": terms.taps,
            "kl": terms.kl, "ce": terms.ce, "exit_kl": exit_kl, "agreement": agreement, "lambda": rate_weight,
        }  # fmt: skip
        return loss, {name: value.detach() for name, value in values.items()}


def train(args: argparse.Namespace) -> Path:
    """Runs or resumes the training run in `args.run`, with all processes of torchrun; returns its checkpoint.

    First `--head-start` epochs on rate and features at the split alone: much cheaper than the whole
    loss, and most of what the encoder has to learn. Then the whole loss.
    """
    with join(args.device) as group:
        return _train(args, group)


def _train(args: argparse.Namespace, group: Group) -> Path:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = group.device
    if args.noise_sigma < 0:
        raise ValueError(f"--noise-sigma {args.noise_sigma}: the largest deviation of the noise, from 0 on")
    if args.label_free and args.classes:
        raise ValueError("--label-free or --classes: the second is for labels")
    source: Path | None = vars(args)["from"]
    photos = (teaching_photos(args.data) if source else list_photos(args.data, "train"))[: args.limit]
    network = load_unsplit(args.weights, source).to(device, memory_format=torch.channels_last)
    trained = load_learned(source) if source else None
    if trained is None:
        config = SplitConfig.beside(
            network, stops=tuple(args.stops), rate_targets=tuple(args.rate_targets),
            joint=args.joint, condition=args.condition, size=args.size,
            **{name: vars(args)[name] for name in WIDTHS if vars(args)[name]},
        )  # fmt: skip
    else:
        config = replace(trained.config, cloud_fixed=True)
        check_network(source, config, args.weights or source, network)
    run = Run("train", args, config, group)

    teacher = Teacher(network, args.bf16, remembers=args.reuse > 1)
    wnids = [photo.wnid for photo in photos]
    labels = class_indexes(args.classes, wnids, network.classes) if args.classes else None
    own = torch.arange(group.rank, len(photos), group.size)  # photo i is in row i // W of its process
    pixels, readable = decode_photos([photos[i] for i in own], "decode train" if group.leads else None, config.size)
    readable = group.gather(readable.byte(), own, len(photos)).bool().cpu()
    if group.leads:
        count_skipped(readable, args.data)
    batches = Batches(readable, args.batch, args.seed, group)
    first = readable.nonzero()[:CALIBRATION, 0]
    places = (first % group.size == group.rank).nonzero()[:, 0]
    x = normalise(group.gather(pixels[first[places] // group.size], places, len(first)))
    with torch.no_grad():
        features = network.stem(x)
    variances = channel_variance(network, features)

    model = SplitModel(config).to(device, memory_format=torch.channels_last)
    if trained is not None:
        model.load_state_dict(trained.state_dict())
    else:
        model.calibrate(x, features)
        if model.classifier is not None:
            model.classifier.load_state_dict(network.without_stem().state_dict())
    average = copy.deepcopy(model).requires_grad_(False)
    control = RateControl(torch.tensor([config.rate_targets[q] for _, q in config.points()], device=device))
    exits, density = list(model.exits.parameters()), list(model.density.parameters())
    behind = list(model.classifier.parameters()) if model.classifier is not None else []
    apart = ("exits.", "density.", "classifier.")
    coder = [p for name, p in model.named_parameters() if not name.startswith(apart)]
    param_groups = [{"params": coder}, {"params": density, "weight_decay": 0}, {"params": exits}]
    param_groups += [{"params": behind}] if behind else []
    speeds = (1, DENSITY_SPEED, 1, CLASSIFIER_SPEED)
    optimiser = torch.optim.AdamW(
        param_groups,
        betas=(0.9, 0.99),  # forgets the head start's small gradients before the whole loss is all in
        weight_decay=1e-4,
    )
    generator = torch.Generator().manual_seed(args.seed)  # what is drawn with it is drawn alike by all processes
    if run.saved:
        model.load_state_dict(run.saved["model"])
        average.load_state_dict(run.saved["average"])
        optimiser.load_state_dict(run.saved["optimiser"])
        control.log_weight = run.saved["log_rate_weight"]
        generator.set_state(run.saved["generator"].cpu())
    # a process may have no image at some stop, and nobody needs the exits in the head start
    objective = group.share(Objective(model, network, variances, args.bf16), some_unused=True)

    def save() -> None:
        average.refresh_median()
        run.save({
            "model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
            "log_rate_weight": control.log_weight, "generator": generator.get_state(),
        })  # fmt: skip

    epochs, per_epoch = args.head_start + args.epochs, batches.per_epoch
    head, steps = int(per_epoch * args.head_start), int(per_epoch * epochs)
    warmup, cooldown = max(1, min(100, steps // 10)), max(1, int(per_epoch * args.epochs * args.cooldown))
    run.start(steps, config.points())
    shown, draws = None, None  # the augmentation that lasts for `--reuse` epochs
    while run.step < steps:
        step = run.step
        batch = batches.at(step)
        row = batch.photos // group.size
        whole_loss = step >= head
        variant = (int(whole_loss), (step - head if whole_loss else step) // per_epoch // args.reuse)
        size = image_size(step // per_epoch / epochs, config.size, args.gamma)
        if shown != (variant, size):
            shown, draws = (variant, size), augmentation(len(photos), args.seed, variant)
            teacher.forget(len(pixels))
        x = augment(pixels[row].to(device), draws[batch.photos], size).contiguous(memory_format=torch.channels_last)
        noise = Noise(args.seed, step, batch.places.tolist())
        unsplit_network = teacher(x, row, whole_loss)  # it sees no noise
        if args.noise_sigma:
            deviation = 2 * args.noise_sigma * noise.strengths().float()  # [-1, 1] is 2 wide
            x = x + (deviation[:, None, None, None] * noise.normal(x.shape[1:])).to(device)
        # operating points of the global batch; this process's images are at some of its places
        point = sample_points(config, args.batch, args.deep, generator).to(device)
        channels = sample_channels(config.latent_channels, args.batch, args.drop, generator).to(device)
        # the whole loss has steeper and noisier gradients
        rate = learning_rate(step, steps, warmup, cooldown, args.lr * (0.25 if whole_loss else 1))
        for param_group, factor in zip(optimiser.param_groups, speeds, strict=False):
            param_group["lr"] = rate * factor
        if step % MEDIAN_STEPS == 0:
            model.refresh_median()

        mine = batch.places.to(device)
        loss, values = objective(
            x,
            unsplit_network,
            labels=labels[batch.photos].to(device) if labels is not None else None,
            point=point[mine],
            channels=channels[mine],
            rate_weight=control.weight(point)[mine],
            share=control.share(point)[mine],
            noise=noise,
            rounding=step > per_epoch // 2,
            tail=min(1.0, max(0, step - head) / per_epoch),  # what is behind the split enters over an epoch
        )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(exits, 1.0)
        torch.nn.utils.clip_grad_norm_(behind, 1.0)
        norm = torch.nn.utils.clip_grad_norm_(coder + density, 1.0)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(
                f"the gradient at step {step} is not finite; lower --lr and resume {run.checkpoint}"
            )
        optimiser.step()
        every = group.gather(torch.stack(list(values.values()), 1), batch.places, args.batch)  # (B, columns)
        values = dict(zip(values, every.unbind(1), strict=True))
        entire = channels == config.latent_channels
        control.update(model, point[entire], values["bpp"][entire])
        follow(average, model, step, args.ema)

        run.advance(
            values,
            {"bpp": ".3f", "split": ".3f", "kl": ".3f", "agreement": ".1f"},
            torch.where(entire, point, -1),
            size=size,
            lr=rate,
        )
        if run.due:
            save()
    model.refresh_median()
    if group.leads:
        save()
        if trained is not None:
            pixels, readable = decode_photos(judging_photos(args.data, GAIN_PHOTOS), "decode photos that judge")
            before = trained.to(device, memory_format=torch.channels_last)
            report_gain(args.run / "gain.csv", before, average, network, pixels[readable])
    return run.checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, required=True,
        help="folder with train-*.tar or train/<wnid>/<photo>; without labels any folder of photos",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path,
        help="the network to split: MobileNetV2, or a ResNet; not needed where --from is a bundle that has it",
    )  # fmt: skip
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoint and log; resumes what is there")
    parser.add_argument(
        "--from", type=Path,
        help="bundle, or folder of a run, whose edge half learns on, at its own operating points; the cloud half stays "
        "as it is. In the end: what was gained, on photos of val, or on every tenth, which then does not teach",
    )  # fmt: skip
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}: adds the cross entropy of the labels")
    parser.add_argument("--label-free", action="store_true", help="says that there are no labels: the default")
    parser.add_argument("--joint", action="store_true", help="what is behind the split learns too; else it is fixed")
    default = SplitConfig()
    parser.add_argument("--stops", type=int, nargs="+", default=default.stops, help="depths n of the encoder")
    parser.add_argument(
        "--rate-targets", type=float, nargs="+", default=default.rate_targets, help="bits per pixel of the rate levels"
    )
    parser.add_argument("--size", type=int, default=SIZE, help="px of the network's input")
    for name in WIDTHS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help="default: what suits the network")
    parser.add_argument(
        "--condition", choices=CONDITIONS, default=default.condition,
        help="what the decoder knows of the operating point: a scale and a shift at its first layer, or at every block",
    )  # fmt: skip
    parser.add_argument("--head-start", type=float, default=6, help="epochs on rate and split features alone")
    parser.add_argument("--epochs", type=float, default=16, help="epochs on the whole loss")
    parser.add_argument("--batch", type=int, default=32, help="images a step, of all processes together")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--cooldown", type=float, default=0.35, help="last share of --epochs, learning rate to zero")
    parser.add_argument("--gamma", type=float, default=1.0, help="size of the first epoch's images, 1 is the full size")
    parser.add_argument("--deep", type=float, default=0.45, help="share of the images that use the deepest encoder")
    parser.add_argument(
        "--drop", type=float, default=0.25, help="share of the images that keep a prefix of the channels"
    )
    parser.add_argument("--ema", type=float, default=0.998, help="decay per step of the weights' moving average")
    parser.add_argument(
        "--reuse",
        type=int,
        default=6,
        help="epochs that show the same augmented photos; the unsplit network's answers are kept, 120 kB a photo",
    )
    parser.add_argument(
        "--noise-sigma", type=float, default=0.0,
        help="largest deviation of noise on pixels from 0 to 1 that the encoder sees, and the unsplit network does not",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, help="only the first photos (a smoke run)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="train in float32")
