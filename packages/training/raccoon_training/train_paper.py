"""Trains a model of the paper, one for each N and lambda, or its baseline. Resumes; `--help` has examples."""

import argparse
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from .batches import Batches
from .crops import Crops
from .group import Group, join
from .images import SIZE, list_photos
from .labels import class_indexes, folder_indexes
from .noise import Noise
from .paper import PaperTraining, Recipe, check_rate_weight
from .paper_config import MODELS, PaperConfig
from .resnet import DEPTHS, ResNetClassifier, load_resnet, normalise
from .run import Run
from .schedule import image_size


def train(args: argparse.Namespace) -> Path:
    """Runs or resumes the training run in `args.run`, with all processes of torchrun; returns its checkpoint."""
    with join(args.device) as group:
        return _train(args, group)


def _train(args: argparse.Namespace, group: Group) -> Path:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    rate_weight = vars(args)["lambda"]
    check_rate_weight(rate_weight)
    photos = list_photos(args.data, "train")
    wnids = [photo.wnid for photo in photos]
    unsplit = load_resnet(args.weights) if args.weights else None
    if unsplit is None:
        classifier = ResNetClassifier(args.depth, len(set(wnids)))
    else:
        classifier = unsplit.classifier()
        unsplit.to(group.device, memory_format=torch.channels_last)
    count = classifier.fc.out_features
    config = PaperConfig(args.model, classifier.depth, count, rate_weight, args.classifier_fixed, unsplit is not None)
    run = Run("train-paper", args, config, group)
    labels = class_indexes(args.classes, wnids) if args.classes else folder_indexes(wnids, count)
    photos, labels = photos[: args.limit], labels[: args.limit]
    batches = Batches(torch.ones(len(photos), dtype=torch.bool), args.batch, args.seed, group)

    model = config.build(classifier).to(group.device, memory_format=torch.channels_last)
    recipe = Recipe(lr=args.lr, epochs=args.epochs, batch=args.batch)
    training = PaperTraining(model, unsplit, config.rate_weight, config.stages, recipe, bf16=args.bf16, clip=args.clip)
    if run.saved:
        training.load_state_dict(run.saved)
    per_epoch = batches.per_epoch
    run.start(per_epoch * args.epochs)
    while run.step < run.steps:
        epoch, done = divmod(run.step, per_epoch)
        if training.start_epoch(epoch) or training.module is model:
            training.module = group.share(model)
        size = image_size(epoch / args.epochs, SIZE, args.gamma)
        rest = [batches.at(epoch * per_epoch + row) for row in range(done, per_epoch)]
        loader = DataLoader(
            Crops(photos, labels, args.seed, epoch, size),
            batch_sampler=[batch.photos.tolist() for batch in rest],
            num_workers=args.workers,
            pin_memory=group.device.type == "cuda",
        )
        for batch, crops in zip(rest, loader, strict=True):
            x = normalise(crops.pixels.to(group.device, non_blocking=True)).contiguous(
                memory_format=torch.channels_last
            )
            y = crops.label.to(group.device, non_blocking=True)
            terms, bpp, logits = training.step(x, y, Noise(args.seed, run.step, batch.places.tolist()))
            values = {
                **terms._asdict(), "bpp": bpp, "top1": 100.0 * (logits.argmax(1) == y),
                "skipped": crops.skipped.to(group.device),
            }  # fmt: skip
            every = group.gather(torch.stack(list(values.values()), 1), batch.places, args.batch)  # (B, columns)
            run.advance(
                dict(zip(values, every.unbind(1), strict=True)),
                {"total": ".3f", "bpp": ".3f", "top1": ".1f"},
                size=size,
                lr=recipe.learning_rate(epoch),
            )
            if run.due:
                run.save(training.state_dict())
    run.save(training.state_dict())
    return run.checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        choices=MODELS,
        required=True,
        help="the paper's with N blocks, light: with our decoder; or a row of Table I",
    )
    parser.add_argument("--lambda", type=float, required=True, help="what a bit per pixel costs; paper: 0.08 ... 5.12")
    parser.add_argument("--data", type=Path, required=True, help="folder with train-*.tar or train/<wnid>/<photo>")
    parser.add_argument("--weights", type=Path, help="ResNet-18, 34 or 50 in torchvision's layout; none: from scratch")
    parser.add_argument("--depth", type=int, choices=DEPTHS, default=50, help="of the ResNet, from scratch")
    parser.add_argument("--classifier-fixed", action="store_true", help="one classifier for many encoders; else joint")
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}; else the sorted names of the folders")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoint and log; resumes what is there")
    recipe = Recipe()
    parser.add_argument("--epochs", type=int, default=recipe.epochs)
    parser.add_argument("--batch", type=int, default=recipe.batch, help="images a step, of all processes together")
    parser.add_argument("--lr", type=float, default=recipe.lr)
    parser.add_argument("--clip", type=float, help="largest norm of the gradient; the paper does not clip")
    parser.add_argument("--gamma", type=float, default=1.0, help="size of the first epoch's images, 1 is the full size")
    parser.add_argument("--limit", type=int, help="only the first photos (a smoke run)")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--workers", type=int, default=2, help="of each process, that decode; 0: it does it itself")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="train in float32")
