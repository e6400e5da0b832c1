"""Trains a ResNet from scratch on labels: the network to be split. Resumes; `--help` has examples."""

import argparse
import math
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from . import evaluate_classifier
from .batches import Batches
from .classifier_config import ClassifierConfig
from .crops import Crops
from .group import Group, join
from .images import list_photos
from .labels import class_indexes, folder_indexes
from .local_answers import LocalAnswers, write_answers
from .loss import prediction_error
from .mobilenet import load_mobilenet
from .resnet import DEPTHS, BasicBlock, Bottleneck, ResNet, normalise
from .run import Run
from .schedule import image_size, learning_rate

MOMENTUM, WEIGHT_DECAY, CLIP = 0.9, 5e-4, 5.0
SMOOTHING = 0.1  # of the labels, where nobody else says how sure to be
COOLDOWN = 0.75  # last share of the steps, learning rate to zero


class Lesson(nn.Module):
    """A ResNet and its losses. With a teacher there is a second head for the teacher's classes, dropped in the end."""

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.network = ResNet(config.depth, config.classes)
        self.answer = nn.Linear(self.network.fc.in_features, config.answers) if config.answers else None
        for block in self.network.modules():  # every block begins as its skip (Goyal et al. 2017, arXiv 1706.02677)
            if isinstance(block, BasicBlock | Bottleneck):
                nn.init.zeros_((block.bn2 if isinstance(block, BasicBlock) else block.bn3).weight)

    def forward(
        self, x: torch.Tensor, truth: torch.Tensor, answers: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """tensor (B, 3, H, W), labels (B), the teacher's logits (B, K') -> cross entropy (B), KL (B), logits (B, K)."""
        logits, behind = self.network.tail(self.network.stem(x))
        if self.answer is None:
            ce = F.cross_entropy(logits.float(), truth, reduction="none", label_smoothing=SMOOTHING)
            return ce, torch.zeros_like(ce), logits
        kl = prediction_error(self.answer(behind[-1].mean((2, 3))), answers)
        return F.cross_entropy(logits.float(), truth, reduction="none"), kl, logits


def train(args: argparse.Namespace) -> Path:
    """Runs or resumes the training run in `args.run`, with all processes of torchrun; returns the weights' file."""
    with join(args.device) as group:
        checkpoint = _train(args, group)
        return evaluate_classifier.finish(args, checkpoint, group.device) if group.leads else checkpoint


def _train(args: argparse.Namespace, group: Group) -> Path:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    if not 0 < args.area <= 1:
        raise ValueError(f"--area {args.area}: the smallest crop as a share of the photo, above 0 and at most 1")
    photos = list_photos(args.data, "train")
    wnids = [photo.wnid for photo in photos]
    count = len(set(wnids))
    labels = class_indexes(args.classes, wnids) if args.classes else folder_indexes(wnids, count)
    teacher = load_mobilenet(args.teacher) if args.teacher else None
    config = ClassifierConfig(args.depth, count, teacher.classifier.out_features if teacher else 0)
    run = Run("train-classifier", args, config, group)
    photos, labels = photos[: args.limit], labels[: args.limit]
    batches = Batches(torch.ones(len(photos), dtype=torch.bool), args.batch, args.seed, group)
    answers = local_answers(args, teacher, photos, group) if teacher else None

    lesson = Lesson(config).to(group.device, memory_format=torch.channels_last)
    decayed = [p for p in lesson.parameters() if p.ndim > 1]
    others = [p for p in lesson.parameters() if p.ndim <= 1]
    optimiser = torch.optim.SGD(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others}],
        lr=args.lr, momentum=MOMENTUM, nesterov=True,
    )  # fmt: skip
    if run.saved:
        lesson.load_state_dict(run.saved["model"])
        optimiser.load_state_dict(run.saved["optimiser"])
    shared = group.share(lesson)

    def save() -> None:
        run.save({"model": lesson.state_dict(), "optimiser": optimiser.state_dict()})

    per_epoch = batches.per_epoch
    steps = per_epoch * args.epochs
    warmup, cooldown = max(1, steps // 10), max(1, int(steps * COOLDOWN))
    run.start(steps)
    while run.step < run.steps:
        epoch, done = divmod(run.step, per_epoch)
        size = image_size(epoch / args.epochs, args.size, args.gamma)
        rest = [batches.at(epoch * per_epoch + row) for row in range(done, per_epoch)]
        loader = DataLoader(
            Crops(photos, labels, args.seed, epoch, size, area=(args.area, 1.0)),
            batch_sampler=[batch.photos.tolist() for batch in rest],
            num_workers=args.workers,
            pin_memory=group.device.type == "cuda",
        )
        lesson.train()
        for batch, crops in zip(rest, loader, strict=True):
            x = normalise(crops.pixels.to(group.device)).contiguous(memory_format=torch.channels_last)
            y = crops.label.to(group.device)
            told = answers(crops.photo, crops.box) if answers else None
            rate = learning_rate(run.step, steps, warmup, cooldown, args.lr)
            for param_group in optimiser.param_groups:
                param_group["lr"] = rate
            with torch.autocast(x.device.type, torch.bfloat16, enabled=args.bf16):
                ce, kl, logits = shared(x, y, told)
            optimiser.zero_grad(set_to_none=True)
            (ce + kl).mean().backward()
            if not math.isfinite(float(nn.utils.clip_grad_norm_(lesson.parameters(), CLIP))):
                raise FloatingPointError(
                    f"the gradient at step {run.step} is not finite; lower --lr and resume {run.checkpoint}"
                )
            optimiser.step()
            values = {
                "ce": ce, "kl": kl, "top1": 100.0 * (logits.argmax(1) == y), "skipped": crops.skipped.to(x.device),
            }  # fmt: skip
            every = group.gather(torch.stack(list(values.values()), 1).detach(), batch.places, args.batch)
            run.advance(
                dict(zip(values, every.unbind(1), strict=True)),
                {"ce": ".3f", "kl": ".3f", "top1": ".1f"},
                size=size,
                lr=rate,
            )
            if run.due:
                save()
    save()
    return run.checkpoint


def local_answers(args: argparse.Namespace, teacher: nn.Module, photos: list, group: Group) -> LocalAnswers:
    """The teacher's answers to the photos, from `answers.npy` in the run's folder; the process that leads writes it."""
    path = args.run / "answers.npy"
    if group.leads and not path.exists():
        args.run.mkdir(parents=True, exist_ok=True)
        teacher.to(group.device, memory_format=torch.channels_last)
        write_answers(path, teacher, photos, group.device, bf16=args.bf16)
    if group.size > 1:
        dist.barrier()
    return LocalAnswers(path, len(photos), group.device)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder with train-*.tar or train/<wnid>/<photo>")
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}; else the sorted names of the folders")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoint and log; resumes what is there")
    parser.add_argument("--depth", type=int, choices=DEPTHS, default=18, help="of the ResNet")
    parser.add_argument(
        "--teacher", type=Path,
        help="mobilenet_v2_imagenet1k.safetensors: its answer to every crop teaches beside the label",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64, help="images a step, of all processes together")
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--size", type=int, default=160, help="px of the last epoch's crops; they are used at 224")
    parser.add_argument("--gamma", type=float, default=0.6, help="size of the first epoch's, 1 is that of the last")
    parser.add_argument("--area", type=float, default=0.35, help="smallest crop, as a share of the photo")
    parser.add_argument("--photos", type=int, default=50_000, help="how many at most to score on, at the end")
    parser.add_argument("--limit", type=int, help="only the first photos (a smoke run)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--workers", type=int, default=1, help="of each process, that decode; 0: it does it itself")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="train in float32")
