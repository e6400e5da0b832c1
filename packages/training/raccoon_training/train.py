"""Trains a split model label-free against a frozen MobileNetV2. Resumes; `--help` has examples."""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from tqdm import tqdm

from .images import augment, load_photos, normalise
from .loss import KL_WEIGHT, SPLIT_WEIGHT, TAP_WEIGHT, feature_error, prediction_error
from .mobilenet import MobileNetV2, load_mobilenet
from .model import SplitConfig, SplitModel

DENSITY_SPEED = 5  # the densities have to follow the latents, so they learn faster
MEDIAN_STEPS = 50  # the centres of rounding follow the densities every so many steps


def learning_rate(step: int, steps: int, warmup: int, cooldown: int, peak: float) -> float:
    """Linear warm-up, constant, then linear to zero over the last `cooldown` steps.

    The constant part lets a resumed run be made longer or ended sooner without a wasted schedule.
    """
    return peak * min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / cooldown))


def channel_variance(network: MobileNetV2, pixels: torch.Tensor) -> list[torch.Tensor]:
    """Variance per channel of the unsplit network's features at the split and at its taps."""
    with torch.no_grad():
        features = network.stem(normalise(pixels))
        return [f.var((0, 2, 3)) + 1e-4 for f in (features, *network.tail(features)[1])]


def sample_points(config: SplitConfig, count: int, deep: float, generator: torch.Generator):
    """An operating point for each image: the deepest stop for a share `deep`, every rate equally often.

    Returns point (count) and depth (count).
    """
    others = [n for n in config.stops[:-1]] or [config.stops[-1]]
    shallow = torch.randint(len(others), (count,), generator=generator)
    is_deep = torch.rand(count, generator=generator) < deep
    stop = torch.where(is_deep, len(config.stops) - 1, shallow)  # (count) index into stops
    rates = len(config.rate_weights)
    rate = (torch.arange(count) + torch.randint(rates, (1,), generator=generator)) % rates
    return stop * rates + rate, torch.tensor(config.stops)[stop]


def train(args: argparse.Namespace) -> Path:
    """Runs or resumes the training run in `args.run`; returns its checkpoint."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    args.run.mkdir(parents=True, exist_ok=True)
    checkpoint, log = args.run / "last.pt", args.run / "log.jsonl"

    network = load_mobilenet(args.weights).to(device, memory_format=torch.channels_last)
    pixels, _ = load_photos(args.data, "train", args.limit)
    pixels = pixels.to(device)
    variances = channel_variance(network, pixels[:64])

    config = SplitConfig()
    model = SplitModel(config).to(device, memory_format=torch.channels_last)
    model.calibrate(normalise(pixels[:64]))
    density = list(model.density.parameters())
    others = [p for name, p in model.named_parameters() if not name.startswith("density.")]
    optimiser = torch.optim.AdamW([{"params": others}, {"params": density, "weight_decay": 0}], weight_decay=1e-4)
    generator = torch.Generator().manual_seed(args.seed)
    weights = torch.tensor([config.rate_weights[q] for _, q in config.points()], device=device)
    per_epoch = len(pixels) // args.batch
    steps, step = int(per_epoch * args.epochs), 0
    warmup, cooldown = max(1, min(200, steps // 10)), max(1, int(steps * args.cooldown))
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        generator.set_state(saved["generator"].cpu())
        step = saved["step"]
        print(f"resumed {checkpoint} at step {step} of {steps}")

    def save() -> None:
        state = {
            "model": model.state_dict(), "optimiser": optimiser.state_dict(), "generator": generator.get_state(),
            "step": step, "config": config.json(), "photos": step * args.batch,
        }  # fmt: skip
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").rename(checkpoint)

    bar = tqdm(total=steps, initial=step, desc="train", unit="step")
    order, saved_at, sums = torch.arange(len(pixels)), time.monotonic(), torch.zeros(5)
    if step % per_epoch:
        order = torch.randperm(len(pixels), generator=generator)
    while step < steps:
        if step % per_epoch == 0:
            order = torch.randperm(len(pixels), generator=generator)
        at = step % per_epoch * args.batch
        x = augment(pixels[order[at : at + args.batch].to(device)], generator)
        x = x.contiguous(memory_format=torch.channels_last)
        point, depth = (t.to(device) for t in sample_points(config, len(x), args.deep, generator))
        rate = learning_rate(step, steps, warmup, cooldown, args.lr)
        for group, factor in zip(optimiser.param_groups, (1, DENSITY_SPEED), strict=True):
            group["lr"] = rate * factor
        if step % MEDIAN_STEPS == 0:
            model.refresh_median()

        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            with torch.no_grad():
                target = network.stem(x)
                target_logits, target_taps = network.tail(target)
            features, bits = model(x, point, depth, generator, rounding=step > steps * args.noise)
            logits, taps = network.tail(features)
        bpp = bits / (x.shape[2] * x.shape[3])  # (B)
        split = feature_error(features, target, variances[0])
        tapped = sum(feature_error(a, b, v) for a, b, v in zip(taps, target_taps, variances[1:], strict=True))
        kl = prediction_error(logits, target_logits)
        ramp = min(1.0, 0.05 + step / per_epoch)  # rate and KL enter over the first epoch
        loss = (SPLIT_WEIGHT * split + TAP_WEIGHT * tapped + ramp * (KL_WEIGHT * kl + weights[point] * bpp)).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(f"the gradient at step {step} is not finite; lower --lr and resume {checkpoint}")
        optimiser.step()

        step += 1
        bar.update()
        sums += torch.stack([v.detach().mean().cpu() for v in (loss, bpp, split, tapped, kl)])
        if step % 50 == 0:
            mean = dict(zip(("loss", "bpp", "split", "taps", "kl"), (sums / 50).tolist(), strict=True))
            sums.zero_()
            with log.open("a") as f:
                f.write(json.dumps({"step": step, "lr": rate, **mean}) + "\n")
            bar.set_postfix({k: f"{v:.3f}" for k, v in mean.items()})
        if time.monotonic() - saved_at > 120:
            save()
            saved_at = time.monotonic()
    model.refresh_median()
    save()
    return checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with train-*.tar shards or an ImageFolder")
    parser.add_argument("--weights", type=Path, required=True, help="mobilenet_v2_imagenet1k.safetensors")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoint and log; resumes what is there")
    parser.add_argument("--epochs", type=float, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--cooldown", type=float, default=0.3, help="last share of the steps, learning rate to zero")
    parser.add_argument("--noise", type=float, default=0.5, help="first share of the steps with noise, then rounding")
    parser.add_argument("--deep", type=float, default=0.6, help="share of the images that use the deepest encoder")
    parser.add_argument("--limit", type=int, help="only the first photos (a smoke run)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="train in float32")
