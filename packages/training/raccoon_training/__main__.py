"""python -m raccoon_training train|export ..."""

import argparse
import sys

from . import export, train

EXAMPLES = """examples, from packages/training with the data folder beside the repository:
  S=../../../shared; W=$S/weights/mobilenet_v2_imagenet1k.safetensors
  python -m raccoon_training train --data $S/data/imagenet20 --weights $W --run runs/mobilenet
  python -m raccoon_training train --data $S/data/imagenet20 --weights $W --run runs/smoke \\
      --limit 320 --head-start 1 --epochs 1                                   # does it run here?
  python -m raccoon_training export --run runs/mobilenet --out ../../bundles/my-mobilenet \\
      --data $S/data/imagenet20 --weights $W --classes $S/reference/imagenet1k-classes.json
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="raccoon_training", description="Train split models and export them as bundles.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module, run in (("train", train, train.train), ("export", export, export.export)):
        command = commands.add_parser(name, help=module.__doc__.split(".")[0])
        module.add_arguments(command)
        command.set_defaults(run_command=run)
    args = parser.parse_args()
    try:
        args.run_command(args)
    except (OSError, ValueError, ArithmeticError) as error:
        sys.exit(f"raccoon_training {args.command}: {error}")


if __name__ == "__main__":
    main()
