"""python -m raccoon_training train|export ..."""

import argparse

from . import export, train

EXAMPLES = """examples:
  python -m raccoon_training train --data ../shared/data/imagenet20 \\
      --weights ../shared/weights/mobilenet_v2_imagenet1k.safetensors --run runs/mobilenet
  python -m raccoon_training train ... --run /tmp/smoke --limit 320 --epochs 1     # does it run here?
  python -m raccoon_training export --run runs/mobilenet --out bundles/my-mobilenet \\
      --data ../shared/data/imagenet20 --classes ../shared/reference/imagenet1k-classes.json \\
      --weights ../shared/weights/mobilenet_v2_imagenet1k.safetensors
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
    args.run_command(args)


if __name__ == "__main__":
    main()
