"""python -m raccoon_training train|evaluate|export|train-classifier|train-paper|... ...; --help lists them."""

import argparse
import os
import signal
import sys
import threading
from typing import NoReturn

from . import (
    compound,
    costs,
    evaluate,
    evaluate_classifier,
    evaluate_paper,
    export,
    import_bundle,
    shrink,
    train,
    train_classifier,
    train_paper,
)

EXAMPLES = """examples, from packages/training with the data folder beside the repository:
  S=../../../shared; W=$S/weights/mobilenet_v2_imagenet1k.safetensors
  python -m raccoon_training train --data $S/data/imagenet20 --weights $W --run runs/universal
  python -m raccoon_training train --data $S/data/imagenet20 --weights $W --run runs/smoke \\
      --limit 320 --head-start 1 --epochs 1                                   # does it run here?
  python -m raccoon_training evaluate --run runs/universal --data $S/data/imagenet20 --weights $W \\
      --classes $S/reference/imagenet1k-classes.json --photos 500
  python -m raccoon_training export --run runs/universal --out ../../bundles/my-mobilenet \\
      --data $S/data/imagenet20 --weights $W --classes $S/reference/imagenet1k-classes.json
  python -m raccoon_training train-classifier --depth 18 --data $S/data/imagenet20 --teacher $W --run runs/resnet18
  python -m raccoon_training train --data $S/data/imagenet20 --classes $S/data/imagenet20/classes.json \\
      --weights runs/resnet18/weights.safetensors --run runs/universal-resnet18   # a ResNet, with labels
  python -m raccoon_training train-paper --model paper-n4 --lambda 1.28 --depth 18 --data $S/data/imagenet20 \\
      --run runs/n4                                                            # from scratch, with labels
  torchrun --nproc-per-node 4 -m raccoon_training train-paper --model paper-n4 --lambda 1.28 --workers 8 \\
      --data imagenet --weights resnet50.pth --run runs/n4                     # the paper's own, on four GPUs
  python -m raccoon_training evaluate-paper --run runs/n4 --data $S/data/imagenet20
  python -m raccoon_training import --checkpoint model.pt --out ../../bundles/imported --licence MIT \\
      --data $S/data/imagenet20 --classes $S/data/imagenet20/classes.json
"""


# `raccoon bundle import` and the like call this module: the words that people typed
CALLED_AS = os.environ.get("RACCOON_COMMAND")


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{'raccoon' if CALLED_AS else self.prog}: {message}; --help shows what there is\n")


def end_with_stdin() -> None:
    """Whoever started this ended, in whatever way: others may take over the folder, so this ends as well."""
    while os.read(0, 1):  # not sys.stdin, whose lock would stay taken at the interpreter's end
        pass
    os._exit(1)


def main() -> None:
    if os.environ.get("RACCOON_END_WITH_STDIN"):
        threading.Thread(target=end_with_stdin, daemon=True).start()
    parser = Parser(
        prog="raccoon_training", description="Train split models and export them as bundles.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module, run in (
        ("train", train, train.train),
        ("evaluate", evaluate, evaluate.run),
        ("export", export, export.export),
        ("shrink", shrink, shrink.shrink),
        ("compound", compound, compound.run),
        ("train-classifier", train_classifier, train_classifier.train),
        ("evaluate-classifier", evaluate_classifier, evaluate_classifier.run),
        ("train-paper", train_paper, train_paper.train),
        ("evaluate-paper", evaluate_paper, evaluate_paper.run),
        ("import", import_bundle, import_bundle.run),
        ("costs", costs, costs.run),
    ):
        about = module.__doc__.split(". ")[0].rstrip(".")
        prog = CALLED_AS or f"raccoon_training {name}"
        command = commands.add_parser(name, help=about, description=f"{about}.", prog=prog)
        module.add_arguments(command)
        command.set_defaults(run_command=run)
    args = parser.parse_args()
    program = "raccoon" if CALLED_AS else f"raccoon_training {args.command}"
    try:
        args.run_command(args)
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (OSError, ValueError, ArithmeticError, RuntimeError) as error:
        if os.environ.get("RACCOON_DEBUG"):
            raise
        sys.exit(f"{program}: {' '.join(str(error).split())}")  # PyTorch's messages have several lines


if __name__ == "__main__":
    main()
