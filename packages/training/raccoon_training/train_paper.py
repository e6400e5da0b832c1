"""Trains a model of the paper, one for each N and lambda, or its baseline. Resumes; `--help` has examples."""

import argparse
from pathlib import Path

import torch

from .checkpoint import check_config, read_checkpoint
from .group import Group, join
from .images import SIZE, list_photos
from .labels import class_indexes, folder_indexes
from .mobilenet import MobileNetV2
from .noise import Noise
from .paper import PaperTraining, Recipe, ShortRecipe, check_rate_weight, first_lambda
from .paper_config import Backbone, PaperConfig, load_teacher
from .paper_photos import FreshCrops, HeldPhotos
from .resnet import DEPTHS
from .run import Run
from .scaled_paper import calibrate
from .schedule import image_size
from .teacher import Teacher
from .train import channel_variance


def train(args: argparse.Namespace) -> Path:
    """Runs or resumes the training run in `args.run`, with all processes of torchrun; returns its checkpoint."""
    with join(args.device) as group:
        return _train(args, group)


def _train(args: argparse.Namespace, group: Group) -> Path:
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    check_rates(args)
    photos = list_photos(args.data, "train")
    wnids = [photo.wnid for photo in photos]
    unsplit = load_teacher(args.weights) if args.weights else None
    mobile = isinstance(unsplit, MobileNetV2)
    if mobile and not args.reuse:
        raise ValueError("beside MobileNetV2 photos are held in memory and shown several times: --reuse 1, or more")
    if unsplit is None:
        backbone = Backbone(f"resnet{args.depth}", len(set(wnids)), args.size)
    else:
        name, classes = (
            ("mobilenet", unsplit.classes) if mobile else (f"resnet{unsplit.depth}", unsplit.fc.out_features)
        )
        backbone = Backbone(name, classes, args.size)
    config = config_of(args, backbone, unsplit is not None)
    if unsplit is None:
        classifier = config.classifier()
    else:
        classifier = unsplit.without_stem().requires_grad_(True) if mobile else unsplit.classifier()
        unsplit.to(group.device, memory_format=torch.channels_last)
    run = Run("train-paper", args, config, group)
    if args.label_free:
        labels = torch.zeros(len(wnids), dtype=torch.long)
    else:
        labels = class_indexes(args.classes, wnids) if args.classes else folder_indexes(wnids, backbone.classes)
    photos, labels = photos[: args.limit], labels[: args.limit]

    model = config.build(classifier).to(group.device, memory_format=torch.channels_last)
    settings = {"seed": args.seed, "batch": args.batch}
    variances = None
    if args.reuse:
        if unsplit is None:
            raise ValueError("--reuse remembers what the unsplit network says: it takes --weights")
        teacher = Teacher(unsplit, args.bf16, remembers=args.reuse > 1)
        source = HeldPhotos(photos, labels, backbone, group, teacher, reuse=args.reuse, **settings)
        x = source.first()
        with torch.no_grad():
            features = unsplit.stem(x)
        if mobile:
            variances = channel_variance(unsplit, features)
            calibrate(model, x, features, (args.rate_target or 1.0) ** 0.5)
    else:
        source = FreshCrops(photos, labels, backbone, group, workers=args.workers, **settings)
    recipe = recipe_of(args)
    training = PaperTraining(
        model, unsplit, config.rate_weight, config.stages, recipe,
        bf16=args.bf16, clip=args.clip, variances=variances,
    )  # fmt: skip
    if run.saved:
        training.load_state_dict(run.saved)
    elif vars(args)["from"]:
        begin_from(training, config, vars(args)["from"] / "last.pt")
    per_epoch = source.batches.per_epoch
    run.start(int(per_epoch * args.epochs))
    while run.step < run.steps:
        epoch, done = divmod(run.step, per_epoch)
        size = image_size(epoch / args.epochs, config.size, args.gamma)
        steps = range(run.step, min(run.steps, run.step - done + per_epoch))
        for batch, shown in source.show(epoch, steps, size):
            begins = training.start_epoch(run.step / per_epoch if args.short else epoch)
            if begins or training.module is model:
                if args.short:
                    model.bottleneck.settle()
                training.module = group.share(model)
            terms, bpp, logits = training.step(
                shown.x, None if args.label_free else shown.label, Noise(args.seed, run.step, batch.places.tolist()),
                shown.target,
            )  # fmt: skip
            values = {**terms._asdict(), "bpp": bpp, "skipped": shown.skipped}
            if shown.target is not None:
                values["agreement"] = percent(logits, shown.target.logits.argmax(1))
            if not args.label_free:
                values["top1"] = percent(logits, shown.label)
            every = group.gather(torch.stack(list(values.values()), 1), batch.places, args.batch)  # (B, columns)
            if args.rate_target:
                training.steer(float(every[:, list(values).index("bpp")].mean()), args.rate_target)
            right = "agreement" if args.label_free else "top1"
            run.advance(
                dict(zip(values, every.unbind(1), strict=True)),
                {"total": ".3f", "bpp": ".3f", right: ".1f"},
                size=size,
                lr=training.rate,
            )
            if run.due:
                run.save(training.state_dict())
    if args.short:
        model.bottleneck.settle()
    run.save(training.state_dict())
    return run.checkpoint


def percent(logits: torch.Tensor | None, classes: torch.Tensor) -> torch.Tensor:
    """Whether the first of logits (B, K) are the classes (B): 100.0 or 0.0; nothing is right in a head start."""
    return torch.zeros_like(classes, dtype=torch.float32) if logits is None else 100.0 * (logits.argmax(1) == classes)


def check_rates(args: argparse.Namespace) -> float:
    """The lambda that a run begins with; raises ValueError before anything is read."""
    if (args.rate_target is None) == (vars(args)["lambda"] is None):
        raise ValueError("either --lambda or --rate-target says what bits may cost")
    rate_weight = vars(args)["lambda"] if args.rate_target is None else first_lambda(args.rate_target)
    check_rate_weight(rate_weight)
    return rate_weight


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Optimiser and schedule that the options ask for. Without an unsplit network there is no head start."""
    given = {"lr": args.lr, "head_start": 0.0 if args.head_start is None and not args.weights else args.head_start}
    kind = ShortRecipe if args.short else Recipe
    return kind(epochs=args.epochs, batch=args.batch, **{name: v for name, v in given.items() if v is not None})


def config_of(args: argparse.Namespace, backbone: Backbone, distilled: bool) -> PaperConfig:
    """What the options train beside this network."""
    mobile = backbone.name == "mobilenet"
    return PaperConfig(
        args.model, 0 if mobile else int(backbone.name.removeprefix("resnet")), backbone.classes, check_rates(args),
        args.classifier_fixed, distilled, "mobilenet" if mobile else "resnet", args.width, args.latent_channels,
        args.size, args.rate_target,
    )  # fmt: skip


def begin_from(training: PaperTraining, config: PaperConfig, checkpoint: Path) -> None:
    """A warm start: the weights of a run that differs in its rate alone, as a rule its neighbour on that axis."""
    state = read_checkpoint(checkpoint, PaperConfig)
    other = {"rate_weight": config.rate_weight, "rate_target": config.rate_target}
    check_config(checkpoint, state["config"] | other, config)
    training.model.load_state_dict(state["model"])
    if config.rate_target is not None:
        training.rate_weight = state["rate_weight"]  # nearer than any guess


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True,
        help="paper-n0, -n4, -n8: the paper's; light-n4 ...: with our decoder; entropic-student; A, B, C of Table I",
    )  # fmt: skip
    parser.add_argument(
        "--rate-target", type=float, help="bits per pixel that lambda is steered to, instead of --lambda"
    )
    parser.add_argument("--lambda", type=float, help="what a bit per pixel costs; paper: 0.08 ... 5.12")
    parser.add_argument("--data", type=Path, required=True, help="folder with train-*.tar or train/<wnid>/<photo>")
    parser.add_argument(
        "--weights", type=Path, help="MobileNetV2, or a ResNet in torchvision's layout; none: a ResNet from scratch"
    )
    parser.add_argument("--depth", type=int, choices=DEPTHS, default=50, help="of the ResNet, from scratch")
    parser.add_argument("--classifier-fixed", action="store_true", help="one classifier for many encoders; else joint")
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}; else the sorted names of the folders")
    parser.add_argument("--label-free", action="store_true", help="the cross entropy is left out")
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoint and log; resumes what is there")
    parser.add_argument("--from", type=Path, help="folder of a run at another lambda: begins with its weights")
    parser.add_argument("--width", type=int, help="of the encoder's blocks, half of it inside them")
    parser.add_argument("--latent-channels", type=int)
    parser.add_argument("--size", type=int, default=SIZE, help="px of the network's input")
    recipe = Recipe()
    parser.add_argument("--short", action="store_true", help="AdamW and steps of its own, for runs of few epochs")
    parser.add_argument("--epochs", type=float, default=recipe.epochs)
    parser.add_argument(
        "--head-start",
        type=float,
        help=f"share of the epochs on rate and features at the split alone; default: 0, with --short and --weights "
        f"{ShortRecipe.head_start}",
    )
    parser.add_argument("--batch", type=int, default=recipe.batch, help="images a step, of all processes together")
    parser.add_argument("--lr", type=float, help=f"default: {recipe.lr}, with --short {ShortRecipe.lr}")
    parser.add_argument("--clip", type=float, help="largest norm of the gradient; the paper does not clip")
    parser.add_argument("--gamma", type=float, default=1.0, help="size of the first epoch's images, 1 is the full size")
    parser.add_argument(
        "--reuse", type=int, default=0,
        help="photos are held in memory, the same augmented ones for so many epochs, and the unsplit network's answers",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, help="only the first photos (a smoke run)")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--workers", type=int, default=2, help="of each process, that decode; 0: it does it itself")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="train in float32")
