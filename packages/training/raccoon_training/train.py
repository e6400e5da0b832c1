"""Trains a split model label-free against a frozen MobileNetV2. Resumes; `--help` has examples."""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .images import augment, load_photos, normalise
from .loss import LABEL_FREE, Prediction, single_stage_loss
from .mobilenet import MobileNetV2, load_mobilenet
from .model import SplitConfig, SplitModel

DENSITY_SPEED = 3  # the densities have to follow the latents, so they learn faster
MEDIAN_STEPS = 50  # the centres of rounding follow the densities every so many steps
LOG_STEPS = 50
SAVE_SECONDS = 120


def learning_rate(step: int, steps: int, warmup: int, cooldown: int, peak: float) -> float:
    """Linear warm-up, constant, then linear to zero over the last `cooldown` steps.

    The constant part lets a resumed run be made longer or ended sooner without a wasted schedule.
    """
    return peak * min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / cooldown))


@torch.no_grad()
def stem_features(network: MobileNetV2, pixels: torch.Tensor, bf16: bool) -> torch.Tensor:
    """The unsplit network's features of photos (M, 3, H, W) and of their mirror images: bfloat16 (2, M, F, h, w)."""
    device = next(network.parameters()).device
    batches = []
    for batch in tqdm(pixels.split(64), desc="features", unit="batch"):
        x = normalise(batch.to(device)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            batches.append(torch.stack([network.stem(x), network.stem(x.flip(3))]).bfloat16().cpu())
    return torch.cat(batches, 1)


def predict(network: MobileNetV2, features: torch.Tensor) -> Prediction:
    """What the network behind the split makes of features (B, F, h, w)."""
    logits, tapped = network.tail(features)
    return Prediction([features, *tapped], logits)


@torch.no_grad()
def channel_variance(network: MobileNetV2, features: torch.Tensor) -> list[torch.Tensor]:
    """Variance per channel of the unsplit network's features (B, F, h, w) and of those at its taps."""
    return [f.var((0, 2, 3)) + 1e-4 for f in (features, *network.tail(features)[1])]


def class_indexes(classes: Path, wnids: list[str]) -> torch.Tensor:
    """Labels (M) int64 of photos with these wnids: positions in the JSON list `classes` of {wnid, name}."""
    index = {entry["wnid"]: i for i, entry in enumerate(json.loads(classes.read_text()))}
    unknown = sorted(set(wnids) - set(index))
    if unknown:
        raise ValueError(f"{classes} has no {unknown[0]}: photos lie in folders named by wnid, as the list has them")
    return torch.tensor([index[wnid] for wnid in wnids])


def sample_points(config: SplitConfig, count: int, deep: float, generator: torch.Generator):
    """An operating point for each image: the deepest stop for a share `deep`, every rate equally often.

    Returns point (count) and depth (count).
    """
    shallow = torch.randint(max(1, len(config.stops) - 1), (count,), generator=generator)
    is_deep = torch.rand(count, generator=generator) < deep
    stop = torch.where(is_deep, len(config.stops) - 1, shallow)  # (count) index into stops
    rates = len(config.rate_weights)
    rate = (torch.arange(count) + torch.randint(rates, (1,), generator=generator)) % rates
    return stop * rates + rate, torch.tensor(config.stops)[stop]


def epoch_order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """The order of the photos (count) in an epoch, from the seed alone: a resumed run goes on in the middle of it."""
    return torch.from_numpy(np.random.default_rng([seed, epoch]).permutation(count))


def train(args: argparse.Namespace) -> Path:
    """Runs or resumes the training run in `args.run`; returns its checkpoint.

    First `--head-start` epochs on rate and features at the split alone, against features computed once:
    several times faster than the whole loss, and most of what the encoder has to learn. Then the whole
    loss on augmented photos.
    """
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    args.run.mkdir(parents=True, exist_ok=True)
    checkpoint, log = args.run / "last.pt", args.run / "log.jsonl"

    network = load_mobilenet(args.weights).to(device, memory_format=torch.channels_last)
    pixels, wnids = load_photos(args.data, "train", args.limit)
    labels = class_indexes(args.classes, wnids) if args.classes else None
    first = normalise(pixels[:256].to(device))
    with torch.no_grad():
        first_features = network.stem(first)
    variances = channel_variance(network, first_features)

    config = SplitConfig()
    model = SplitModel(config).to(device, memory_format=torch.channels_last)
    model.calibrate(first, first_features)
    density = list(model.density.parameters())
    others = [p for name, p in model.named_parameters() if not name.startswith("density.")]
    optimiser = torch.optim.AdamW([{"params": others}, {"params": density, "weight_decay": 0}], weight_decay=1e-4)
    generator = torch.Generator().manual_seed(args.seed)
    weights = torch.tensor([config.rate_weights[q] for _, q in config.points()], device=device)
    per_epoch = len(pixels) // args.batch
    if per_epoch == 0:
        raise ValueError(f"{len(pixels)} photos are fewer than one batch of {args.batch}; lower --batch")
    head, steps, step = int(per_epoch * args.head_start), int(per_epoch * (args.head_start + args.epochs)), 0
    warmup, cooldown = max(1, min(100, steps // 10)), max(1, int(per_epoch * args.epochs * args.cooldown))
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
        generator.set_state(saved["generator"].cpu())
        step = saved["step"]
        print(f"resumed {checkpoint} at step {step} of {steps}")
    known = stem_features(network, pixels, args.bf16) if step < head else None

    def save() -> None:
        state = {
            "model": model.state_dict(), "optimiser": optimiser.state_dict(), "generator": generator.get_state(),
            "step": step, "config": config.json(), "photos": step * args.batch,
        }  # fmt: skip
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").rename(checkpoint)

    bar = tqdm(total=steps, initial=step, desc="train", unit="step")
    saved_at, recent = time.monotonic(), []  # recent: what the next line of the log averages
    while step < steps:
        order = epoch_order(len(pixels), args.seed, step // per_epoch)
        batch = order[step % per_epoch * args.batch :][: args.batch]
        whole_loss = step >= head
        if whole_loss:
            known = None
            x = augment(pixels[batch].to(device), generator)
        else:
            mirror = torch.randint(2, (len(batch),), generator=generator)
            x = normalise(pixels[batch].to(device))
            x = torch.where(mirror.to(device)[:, None, None, None] == 1, x.flip(3), x)
            target = known[mirror, batch].to(device).float()
        x = x.contiguous(memory_format=torch.channels_last)
        point, depth = (t.to(device) for t in sample_points(config, len(x), args.deep, generator))
        # the whole loss has steeper gradients
        rate = learning_rate(step, steps, warmup, cooldown, args.lr * (0.5 if whole_loss else 1))
        for group, factor in zip(optimiser.param_groups, (1, DENSITY_SPEED), strict=True):
            group["lr"] = rate * factor
        if step % MEDIAN_STEPS == 0:
            model.refresh_median()

        with torch.autocast(device.type, torch.bfloat16, enabled=args.bf16):
            features, bits = model(x, point, depth, generator, rounding=step > per_epoch // 2)
            if whole_loss:
                split_network = predict(network, features)
                with torch.no_grad():
                    unsplit_network = predict(network, network.stem(x))
            else:
                split_network, unsplit_network = Prediction([features]), Prediction([target])
        bpp = bits / (x.shape[2] * x.shape[3])  # (B)
        rate_ramp = min(1.0, 0.05 + step / per_epoch)  # rate enters over the first epoch, what is behind the
        tail_ramp = min(1.0, max(0, step - head) / per_epoch)  # split over the first epoch of the whole loss
        terms = single_stage_loss(
            rate_ramp * weights[point] * bpp,
            split_network,
            unsplit_network,
            LABEL_FREE,
            variances=variances[: len(split_network.features)],
            labels=labels[batch].to(device) if labels is not None else None,
            tail=tail_ramp,
        )
        loss = terms.total.mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if not math.isfinite(float(norm)):
            raise FloatingPointError(f"the gradient at step {step} is not finite; lower --lr and resume {checkpoint}")
        optimiser.step()

        step += 1
        bar.update()
        logged = {"loss": terms.total, "bpp": bpp, "split": terms.split, "taps": terms.taps, "kl": terms.kl}
        if labels is not None:
            logged["ce"] = terms.ce
        recent.append([v.detach().mean().cpu() for v in logged.values()])
        if step % LOG_STEPS == 0:
            mean = dict(zip(logged, torch.tensor(recent).mean(0).tolist(), strict=True))
            recent.clear()
            with log.open("a") as f:
                f.write(json.dumps({"step": step, "lr": rate, **mean}) + "\n")
            bar.set_postfix({k: f"{v:.3f}" for k, v in mean.items()})
        if time.monotonic() - saved_at > SAVE_SECONDS:
            save()
            saved_at = time.monotonic()
    model.refresh_median()
    save()
    return checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with train-*.tar shards or an ImageFolder")
    parser.add_argument("--weights", type=Path, required=True, help="mobilenet_v2_imagenet1k.safetensors")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoint and log; resumes what is there")
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}: adds the cross entropy of the labels")
    parser.add_argument("--head-start", type=float, default=8, help="epochs on rate and split features alone")
    parser.add_argument("--epochs", type=float, default=16, help="epochs on the whole loss")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--cooldown", type=float, default=0.35, help="last share of --epochs, learning rate to zero")
    parser.add_argument("--deep", type=float, default=0.7, help="share of the images that use the deepest encoder")
    parser.add_argument("--limit", type=int, help="only the first photos (a smoke run)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="train in float32")
