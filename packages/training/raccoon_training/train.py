"""Trains a split model label-free against a frozen MobileNetV2. Resumes; `--help` has examples."""

import argparse
import copy
import math
import os
import platform
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .checkpoint import read_checkpoint, write_checkpoint
from .images import AUGMENT_DRAWS, SIZE, augment, load_photos, normalise
from .log import RunLog
from .loss import LABEL_FREE, Prediction, prediction_error, single_stage_loss
from .mobilenet import MobileNetV2, load_mobilenet
from .model import SplitConfig, SplitModel
from .rate_control import RateControl
from .schedule import image_size, learning_rate
from .teacher import Teacher, class_indexes, predict

DENSITY_SPEED = 3  # the densities have to follow the latents, so they learn faster
MEDIAN_STEPS = 50  # the centres of rounding follow the densities every so many steps
LOG_STEPS = 50
SAVE_SECONDS = 120


@torch.no_grad()
def channel_variance(network: MobileNetV2, features: torch.Tensor) -> list[torch.Tensor]:
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


def epoch_order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the photos (count) in an epoch, from the seed alone: a resumed run goes on in the middle of it."""
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))


def augmentation(count: int, seed: int, variant: tuple[int, int]) -> torch.Tensor:
    """The random numbers (count, 8) of every photo's augmentation while `variant` lasts."""
    return torch.from_numpy(np.random.default_rng([seed, 1, *variant]).random((count, AUGMENT_DRAWS), np.float32))


@torch.no_grad()
def follow(average: SplitModel, model: SplitModel, step: int, decay: float) -> None:
    """Moves the exponential moving average of the weights one step on. It begins faster than `decay`."""
    share = 1 - min(decay, (1 + step) / (10 + step))
    for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
        slow.lerp_(fast, share)


def train(args: argparse.Namespace) -> Path:
    """Runs or resumes the training run in `args.run`; returns its checkpoint.

    First `--head-start` epochs on rate and features at the split alone: much cheaper than the whole
    loss, and most of what the encoder has to learn. Then the whole loss.
    """
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    config = SplitConfig(stops=tuple(args.stops), rate_targets=tuple(args.rate_targets))
    args.run.mkdir(parents=True, exist_ok=True)
    checkpoint = args.run / "last.pt"
    saved = read_checkpoint(checkpoint, device) if checkpoint.exists() else None
    if saved and SplitConfig.parse(saved["config"]) != config:
        raise ValueError(f"{checkpoint} is of another architecture ({saved['config']}); use another folder for --run")

    network = load_mobilenet(args.weights).to(device, memory_format=torch.channels_last)
    teacher = Teacher(network, args.bf16)
    pixels, wnids = load_photos(args.data, "train", args.limit)
    labels = class_indexes(args.classes, wnids) if args.classes else None
    per_epoch = len(pixels) // args.batch
    if per_epoch == 0:
        raise ValueError(f"{len(pixels)} photos are fewer than one batch of {args.batch}; lower --batch")
    first = normalise(pixels[:256].to(device))
    with torch.no_grad():
        first_features = network.stem(first)
    variances = channel_variance(network, first_features)

    model = SplitModel(config).to(device, memory_format=torch.channels_last)
    model.calibrate(first, first_features)
    average = copy.deepcopy(model).requires_grad_(False)
    control = RateControl(torch.tensor([config.rate_targets[q] for _, q in config.points()], device=device))
    exits, density = list(model.exits.parameters()), list(model.density.parameters())
    coder = [p for name, p in model.named_parameters() if not name.startswith(("exits.", "density."))]
    optimiser = torch.optim.AdamW(
        [{"params": coder}, {"params": density, "weight_decay": 0}, {"params": exits}],
        betas=(0.9, 0.99),  # forgets the head start's small gradients before the whole loss is all in
        weight_decay=1e-4,
    )
    generator = torch.Generator().manual_seed(args.seed)
    epochs = args.head_start + args.epochs
    head, steps, step = int(per_epoch * args.head_start), int(per_epoch * epochs), 0
    warmup, cooldown = max(1, min(100, steps // 10)), max(1, int(per_epoch * args.epochs * args.cooldown))
    seconds = 0.0  # of training so far, over all starts
    if saved:
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        control.log_weight = saved["log_rate_weight"]
        generator.set_state(saved["generator"].cpu())
        step, seconds = saved["step"], saved["seconds"]
        print(f"resumed {checkpoint} at step {step} of {steps}")
    log = RunLog(args.run, config.points(), step)

    def save() -> None:
        average.refresh_median()
        write_checkpoint(checkpoint, {
            "model": model.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict(),
            "log_rate_weight": control.log_weight, "generator": generator.get_state(), "config": config.json(),
            "step": step, "photos": step * args.batch, "seconds": seconds, "seed": args.seed,
            "machine": machine(device), "command": command(args),
        })  # fmt: skip

    bar = tqdm(total=steps, initial=step, desc="train", unit="step")
    shown, draws = None, None  # the augmentation that lasts for `--reuse` epochs
    saved_at = logged_at = time.monotonic()
    while step < steps:
        order = epoch_order(len(pixels), args.seed, step // per_epoch)
        batch = order[step % per_epoch * args.batch :][: args.batch]
        whole_loss = step >= head
        variant = (int(whole_loss), (step - head if whole_loss else step) // per_epoch // args.reuse)
        size = image_size(step // per_epoch / epochs, SIZE, args.gamma)
        if shown != (variant, size):
            shown, draws = (variant, size), augmentation(len(pixels), args.seed, variant)
            teacher.forget(len(pixels))
        x = augment(pixels[batch].to(device), draws[batch], size).contiguous(memory_format=torch.channels_last)
        unsplit_network = teacher(x, batch, whole_loss)
        point = sample_points(config, len(x), args.deep, generator).to(device)
        channels = sample_channels(config.latent_channels, len(x), args.drop, generator).to(device)
        # the whole loss has steeper and noisier gradients
        rate = learning_rate(step, steps, warmup, cooldown, args.lr * (0.25 if whole_loss else 1))
        for group, factor in zip(optimiser.param_groups, (1, DENSITY_SPEED, 1), strict=True):
            group["lr"] = rate * factor
        if step % MEDIAN_STEPS == 0:
            model.refresh_median()

        rate_weight = control.weight(point)
        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            result = model(x, point, channels, rate_weight, generator, rounding=step > per_epoch // 2)
            split_network = predict(network, result.features) if whole_loss else Prediction([result.features])
        noisy_bpp, bpp = (bits / (x.shape[2] * x.shape[3]) for bits in (result.bits, result.coded_bits))  # (B)
        terms = single_stage_loss(
            noisy_bpp,  # its gradient already has lambda
            split_network,
            unsplit_network,
            LABEL_FREE,
            variances=variances[: len(split_network.features)],
            labels=labels[batch].to(device) if labels is not None else None,
            tail=min(1.0, max(0, step - head) / per_epoch),  # what is behind the split enters over an epoch
        )
        loss = (control.share(point) * terms.total).mean()
        exit_kl = agreement = torch.zeros_like(bpp)
        if whole_loss:
            exit_kl = prediction_error(result.exit_logits, unsplit_network.logits)
            loss = loss + exit_kl.mean()
            agreement = 100.0 * (split_network.logits.argmax(1) == unsplit_network.logits.argmax(1))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(exits, 1.0)
        norm = torch.nn.utils.clip_grad_norm_(coder + density, 1.0)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(f"the gradient at step {step} is not finite; lower --lr and resume {checkpoint}")
        optimiser.step()
        entire = channels == config.latent_channels
        control.update(model, point[entire], bpp[entire])
        follow(average, model, step, args.ema)

        step += 1
        bar.update()
        log.add(point, entire, {
            "loss": terms.total - noisy_bpp + rate_weight * bpp, "bpp": bpp, "split": terms.split, "taps": terms.taps,
            "kl": terms.kl, "ce": terms.ce, "exit_kl": exit_kl, "agreement": agreement, "lambda": rate_weight,
        })  # fmt: skip
        if step % LOG_STEPS == 0:
            now = time.monotonic()
            speed = LOG_STEPS * args.batch / (now - logged_at)
            seconds, logged_at = seconds + now - logged_at, now
            mean = log.write(step, hours=seconds / 3600, size=size, lr=rate, images_per_s=speed)
            text = {name: f"{mean[name]:.3f}" for name in ("bpp", "split", "kl")}
            bar.set_postfix({"images/s": f"{speed:.0f}", **text, "agreement": f"{mean['agreement']:.1f} %"})
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
    model.refresh_median()
    save()
    return checkpoint


def machine(device: torch.device) -> str:
    """What trained, for the bundle's provenance."""
    cores = f"{os.cpu_count()} {platform.machine()} processor cores"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else cores


def command(args: argparse.Namespace) -> str:
    """The options of the run, for the bundle's provenance; of paths only the last part."""
    parts = ["train"]
    for name, value in vars(args).items():
        if isinstance(value, Path):
            parts.append(f"--{name} {value.name}")
        elif isinstance(value, list | tuple):
            parts.append(f"--{name.replace('_', '-')} {' '.join(map(str, value))}")
        elif isinstance(value, int | float) and name not in ("bf16", "threads"):
            parts.append(f"--{name.replace('_', '-')} {value:g}")
    return " ".join(parts if args.bf16 else [*parts, "--no-bf16"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with train-*.tar shards or an ImageFolder")
    parser.add_argument("--weights", type=Path, required=True, help="mobilenet_v2_imagenet1k.safetensors")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoint and log; resumes what is there")
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}: adds the cross entropy of the labels")
    default = SplitConfig()
    parser.add_argument("--stops", type=int, nargs="+", default=default.stops, help="depths n of the encoder")
    parser.add_argument(
        "--rate-targets", type=float, nargs="+", default=default.rate_targets, help="bits per pixel of the rate levels"
    )
    parser.add_argument("--head-start", type=float, default=6, help="epochs on rate and split features alone")
    parser.add_argument("--epochs", type=float, default=16, help="epochs on the whole loss")
    parser.add_argument("--batch", type=int, default=32)
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
    parser.add_argument("--limit", type=int, help="only the first photos (a smoke run)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="train in float32")
