"""Shrinks the encoder of a bundle to so many milliseconds on this device. The same cloud half serves it.

    scores of the filters, measured costs of blocks -> knapsack -> hidden widths -> [fit, fine-tuning] -> another bundle

The bundle that is written has the same codecs, points and cloud half; its points of the shrunk stop have another
encoder.
The method is MDP's (arXiv 2406.12079), whose programme is a knapsack here.
"""

import argparse
import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .bundle import check_target, close_folder, open_folder
from .export import CALIBRATION_PHOTOS, EncoderGraph, round_weights, write_graphs, write_int8
from .from_bundle import BundleModel, encoder_file, load_bundle, load_bundle_network
from .images import count_skipped, decode_photos, has_split, list_photos, normalise
from .networks import load_network
from .provenance import command
from .reference_coder import Tables, quantise
from .shrink_costs import BlockCosts, measure_costs, read_costs, time_graphs, write_costs
from .shrink_refit import refit
from .shrink_tuning import fine_tune
from .shrunk_encoder import ShrunkEncoder, choose_widths, prune, top_filters
from .taylor import task_scores

ESCAPE_BITS = 12  # behind an escape's own code, taken to have three digits, as the coder does


def shrink(args: argparse.Namespace) -> list[Path]:
    """Writes a bundle for each of the budgets; returns their folders."""
    torch.set_num_threads(args.torch_threads)
    budgets = parse_budgets(args.budget_ms)
    outs = [args.out] if len(budgets) == 1 else [args.out.with_name(f"{args.out.name}-{us}us") for us in budgets]
    for out in outs:
        check_target(out)
    source = load_bundle(args.bundle)
    model = source.model.to(memory_format=torch.channels_last)
    n = model.config.stops[-1] if args.stop is None else args.stop
    if n not in model.config.stops or n == 0:
        raise ValueError(
            f"--stop {n}: {args.bundle} can be shrunk at {', '.join(map(str, filter(None, model.config.stops)))}"
        )
    encoder_file(source.manifest, n, args.precision)  # or says that there is none
    network = load_network(args.weights) if args.weights else load_bundle_network(args.bundle)
    network = network.to(memory_format=torch.channels_last)
    costs = block_costs(args, source, n)
    for us in budgets:
        costs.check_budget(us)  # before anything takes long

    size = model.config.size
    pixels = mixed_photos(args.data, "train", args.limit, size=size, seed=args.seed)
    scores = task_scores(model, network, n, pixels[: args.score_photos], bf16=args.bf16)
    rate_split = "val" if has_split(args.data, "val") else "train"
    rate_photos = mixed_photos(args.data, rate_split, args.rate_photos, size=size, seed=args.seed)
    for us, out in zip(budgets, outs, strict=True):
        widths = choose_widths(scores, costs, us)
        print(
            f"{us / 1000:g} ms: hidden widths {' '.join(map(str, widths))}, {costs.of(widths) / 1000:.2f} ms predicted"
        )
        shrunk = prune(model, n, top_filters(scores, widths))
        record = {
            "of": f"{source.manifest['name']} {source.manifest['version']}", "command": command("shrink", args),
            "n": n, "widths": widths, "budgetMs": us / 1000, "predictedMs": costs.of(widths) / 1000,
            "precision": costs.precision, "threads": costs.threads, "device": costs.device,
            "scores": {"data": f"{args.data.name} train", "images": min(len(pixels), args.score_photos)},
        }  # fmt: skip
        if args.refit_photos:
            refit(shrunk, model, pixels[: args.refit_photos])
            record["refitted"] = {"images": min(len(pixels), args.refit_photos)}
        if args.epochs:
            error = fine_tune(shrunk, model, pixels, epochs=args.epochs, lr=args.lr, seed=args.seed, bf16=args.bf16)
            record["fineTuned"] = {"epochs": args.epochs, "images": len(pixels), "latentError": round(error, 5)}
            print(f"fine-tuned: {error:.1%} of the latents' variance is lost")
        write_bundle(
            args.bundle, source, shrunk, out,
            us=us, costs=costs, record=record, calibration=pixels[:CALIBRATION_PHOTOS], rate_photos=rate_photos,
        )  # fmt: skip
    return outs


def parse_budgets(text: str) -> list[int]:
    """Milliseconds, separated by commas, as rising microseconds."""
    try:
        budgets = sorted({round(1000 * float(part)) for part in text.split(",")})
    except ValueError:
        budgets = [0]
    if budgets[0] <= 0:
        raise ValueError(f"--budget-ms {text}: milliseconds above 0, separated by commas")
    return budgets


def block_costs(args: argparse.Namespace, source: BundleModel, n: int) -> BlockCosts:
    """Those of the file `--costs`; measured here where there is none, and written to it."""
    config = source.model.config
    if args.costs and args.costs.exists():
        return read_costs(args.costs, config, n, args.precision)
    hidden = config.encoder_hidden
    widths = sorted({*range(args.step, hidden, args.step), hidden})
    costs = measure_costs(config, n, widths, precision=args.precision, threads=args.threads)
    if args.costs:
        write_costs(costs, args.costs)
    return costs


def mixed_photos(source: Path, split: str, count: int | None, *, size: int, seed: int) -> torch.Tensor:
    """uint8 (M, 3, size, size): so many photos of a split, all by default, at random: lists are sorted by class."""
    photos = list_photos(source, split)
    order = np.random.default_rng([seed, 8]).permutation(len(photos))[:count]
    pixels, readable = decode_photos([photos[i] for i in order], f"decode {split}", size)
    count_skipped(readable, source)
    return pixels[readable]


def write_bundle(
    base: Path,
    source: BundleModel,
    shrunk: ShrunkEncoder,
    out: Path,
    *,
    us: int,
    costs: BlockCosts,
    record: dict[str, Any],
    calibration: torch.Tensor,
    rate_photos: torch.Tensor,
) -> None:
    """The bundle `base` with another encoder at one stop, float32 and, where it has that, int8."""
    n, manifest = shrunk.n, copy.deepcopy(source.manifest)
    points = [(p, point) for p, point in enumerate(manifest["points"]) if point["n"] == n]
    replaced = {point["encoder"] for _, point in points}
    round_weights(shrunk)
    module, tensor = EncoderGraph(shrunk.encoder, shrunk.exit_head, n), normalise(calibration[:1])

    folder = open_folder(out)
    for name in source.manifest["files"].keys() - replaced:
        shutil.copyfile(base / name, folder / name)
    files = {"float32": f"encoder-n{n}-{us}us.onnx", "int8": f"encoder-n{n}-{us}us-int8.onnx"}
    encoders = {"float32": lambda x: module(x)[0]}
    macs = write_graphs(folder, {files["float32"]: (module, {"tensor": tensor}, ("latent", "exit_logits"), False)})
    if any(point.get("precision") == "int8" for _, point in points):
        encoders["int8"] = write_int8(folder / files["int8"], module, {"tensor": tensor}, calibration)

    whole, own = base / encoder_file(manifest, n, costs.precision), folder / files[costs.precision]
    times = time_graphs({path: path.read_bytes() for path in (whole, own)}, costs.threads)
    record["measuredHereMs"] = {"shrunk": round(times[own] / 1000, 3), "whole": round(times[whole] / 1000, 3)}

    latents = {
        precision: torch.cat([encode(normalise(photo)) for photo in rate_photos.split(1)]).numpy()
        for precision, encode in encoders.items()
    }
    for p, point in points:
        precision = point.get("precision", "float32")
        bits = sum(symbol_bits(quantise(latent, p, source.tables), p, source.tables) for latent in latents[precision])
        point["encoder"] = files[precision]
        point["edgeMacs"] = macs[files["float32"]]
        point["expectedBpp"] = round(bits / rate_photos[:, 0].numel(), 4)
        point.pop("measured", None)  # it was the whole encoder's, as was its exit's calibration
    if kept := [of for of in manifest["exit"].pop("calibration", []) if of["n"] != n]:
        manifest["exit"]["calibration"] = kept

    manifest["name"] = out.name
    manifest["description"] += f"; encoder n={n} shrunk to {us / 1000:g} ms"
    manifest["provenance"]["shrunk"] = record
    close_folder(folder, manifest, out)
    before = source.manifest["points"][points[0][0]]["edgeMacs"]
    print(
        f"{out}: {times[own] / 1000:.2f} ms measured here, {times[whole] / 1000:.2f} ms the whole encoder of n={n}; "
        f"{macs[files['float32']] / 1e6:.1f} of {before / 1e6:.1f} MMAC"
    )


def symbol_bits(symbols: np.ndarray, p: int, tables: Tables) -> float:
    """What symbols (C, h, w) cost at point p by the coding tables, in bits."""
    total = 0.0
    for index, channel in zip(tables.table_of[p], symbols.reshape(len(symbols), -1), strict=True):
        table = tables.tables[index]
        costs = 16 - np.log2(table.frequencies)
        costs[-1] += ESCAPE_BITS
        entry = channel.astype(np.int64) - table.offset
        total += costs[np.where((entry >= 0) & (entry < table.escape), entry, table.escape)].sum()
    return total


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, help="folder of a bundle of `raccoon export`")
    parser.add_argument("--data", type=Path, required=True, help="photos, without labels, as for train")
    parser.add_argument(
        "--budget-ms", required=True,
        help="of the encoder's network for one image, for instance 1.5,2,3: a bundle for each",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True,
        help="bundle folder to write; of several budgets its name ends in -<microseconds>us",
    )  # fmt: skip
    parser.add_argument("--weights", type=Path, help="of the unsplit network, where the bundle has none")
    parser.add_argument("--stop", type=int, help="n of the encoder that is shrunk; default: the deepest")
    parser.add_argument(
        "--costs", type=Path,
        help="JSON table of what blocks cost on the device; measured here and written where it does not exist",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("float32", "int8"), default="float32",
        help="of the encoder that is to keep to the budget; both are written where the bundle has both",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="of the encoder whose time is measured")
    parser.add_argument("--step", type=int, default=4, help="hidden widths are multiples of it, or all of them")
    parser.add_argument("--score-photos", type=int, default=256, help="that the filters' importances are taken from")
    parser.add_argument("--refit-photos", type=int, default=96, help="that what is left is fitted on; 0: no fit")
    parser.add_argument("--epochs", type=float, default=4, help="of fine-tuning; 0: none")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--limit", type=int, help="only so many photos of the training split")
    parser.add_argument("--rate-photos", type=int, default=200, help="for the expected rates")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--torch-threads", type=int, default=2, help="of the fine-tuning")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="score and fine-tune in float32")
