"""Writes a trained run as a bundle and checks it against ONNX Runtime. `--help` has examples."""

import argparse
import hashlib
import io
import json
import math
import secrets
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from torch import nn
from tqdm import tqdm

from .adapt import load_unsplit
from .bundle import check_target, close_folder, open_folder
from .checkpoint import check_network, load_average
from .encoder import Encoder
from .exit_head import ExitHead
from .images import has_split, load_photos, normalise, short_side
from .labels import read_classes
from .model import SplitConfig, SplitModel
from .networks import SplitNetwork
from .quantise import OPSET as INT8_OPSET
from .quantise import quantise_graph
from .reference_coder import Codec, Runs, codec_id, load_codec, quantise, rans_encode, write_tables
from .tables import build_tables, pool_tables

FORMAT_VERSION = 0
OPSET = 17
RATE_BATCH = 64  # photos at once for the expected rates
CALIBRATION_PHOTOS = 64  # of the train split, for deviations of latents and the scales of the int8 encoders
FINEST = 8.0  # steps a deviation
INT8_FROM = 1  # blocks: without any, 8 bits save an eighth of 0.4 ms
INT8_ERROR = 0.2  # of the latent's deviation: an int8 encoder beyond it is broken rather than rounded


class EncoderGraph(nn.Module):
    """tensor (1, 3, H, W) -> latent (1, C, h, w) and the local exit's logits (1, K), at one depth."""

    def __init__(self, encoder: Encoder, exit_head: ExitHead, n: int):
        super().__init__()
        self.encoder, self.exit_head, self.n = encoder, exit_head, n

    def forward(self, tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        trunk = self.encoder.trunk(tensor, self.n)
        return self.encoder.project[str(self.n)](trunk), self.exit_head(trunk)


class DecoderGraph(nn.Module):
    """symbols (B, C, h, w) int16 and point (B) int64 -> features (B, F, h, w).

    twin: for every point of the bundle the model's own point that it decodes as; by default the model's points.
    """

    def __init__(self, model: SplitModel, twin: Sequence[int] | None = None):
        super().__init__()
        self.model = model
        own = range(len(model.config.points()))
        self.register_buffer("twin", None if twin is None or list(twin) == list(own) else torch.tensor(list(twin)))

    def forward(self, symbols: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        if self.twin is not None:
            point = self.twin[point]
        return self.model.decoder(self.model.dequantise(symbols.float(), point), point)


class ClassifierGraph(nn.Module):
    """features (B, F, h, w) -> logits (B, K)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.network.tail(features)[0]


class StemGraph(nn.Module):
    """tensor (B, 3, H, W) -> features (B, F, h, w): the part that the split replaces."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.network.stem(tensor)


def store_float16(graph: onnx.GraphProto) -> None:
    """Stores weights as float16 behind one cast to float32, which the runtime folds at load.

    Exact, because `round_weights` has already rounded the weights that are written here.
    """
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < 16:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        if not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            continue  # gains and medians stay float32
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.f16"))
        casts.append(helper.make_node("Cast", [f"{name}.f16"], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend(casts + nodes)


def round_weights(*modules: nn.Module) -> None:
    """Rounds every parameter to float16, so that what is stored is what is checked."""
    for module in modules:
        for parameter in module.parameters():
            parameter.data = parameter.data.half().float()


def trace_graph(
    module: nn.Module,
    inputs: dict[str, torch.Tensor],
    output: str | tuple[str, ...],
    batched: bool,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """`module` as an ONNX graph with named tensors, a free batch dimension if `batched`."""
    outputs = [output] if isinstance(output, str) else list(output)
    names, buffer = [*inputs, *outputs], io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(), tuple(inputs.values()), buffer, input_names=list(inputs), output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in names} if batched else None, opset_version=opset, dynamo=False,
        )  # fmt: skip
    return onnx.load_from_string(buffer.getvalue())


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    store_float16(model.graph)
    model.producer_name, model.producer_version = "raccoon", ""
    onnx.checker.check_model(model)
    onnx.save(model, path)


def write_graph(
    module: nn.Module, path: Path, inputs: dict[str, torch.Tensor], output: str | tuple[str, ...], batched: bool
) -> None:
    """Exports `module` as an ONNX file, as `trace_graph` makes it."""
    save_graph(trace_graph(module, inputs, output, batched), path)


def open_graph(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run_graph(path: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The first output of a graph file."""
    return open_graph(path.read_bytes()).run(None, inputs)[0]


def check_graph(path: Path, module: nn.Module, inputs: dict[str, torch.Tensor]) -> None:
    """The written file computes what the module computes, or the export fails."""
    with torch.no_grad():
        expected = module(*inputs.values())
    actual = open_graph(path.read_bytes()).run(None, {name: value.numpy() for name, value in inputs.items()})
    for ours, theirs in zip(actual, expected if isinstance(expected, tuple) else (expected,), strict=True):
        error = float(np.abs(ours - theirs.numpy()).max() / (theirs.abs().max() + 1e-9))
        if not error < 1e-4:
            raise RuntimeError(f"{path.name} differs from the trained model by {error:.2e} of its range; not exported")


def graph_macs(path: Path, inputs: dict[str, torch.Tensor]) -> int:
    """Multiply-accumulates of the convolutions and matrix products of an ONNX graph, for one image.

    Counted from the shapes of a run on `inputs`: shape inference gives up at paddings.
    """
    model = onnx.load(path)
    graph = model.graph
    layers = [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
    shapes = {tensor.name.removesuffix(".f16"): tuple(tensor.dims) for tensor in graph.initializer}
    shapes |= {name: tuple(value.shape) for name, value in inputs.items()}
    known = {*shapes, *(value.name for value in graph.output)}
    wanted = list(dict.fromkeys(name for node in layers for name in (node.input[0], node.output[0])))
    graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted if name not in known)
    wanted = [name for name in wanted if name not in shapes]
    values = open_graph(model.SerializeToString()).run(wanted, {name: v.numpy() for name, v in inputs.items()})
    shapes |= {name: value.shape for name, value in zip(wanted, values, strict=True)}

    total = 0
    for node in layers:
        image, weights, output = shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]]
        if node.op_type == "Conv":  # every value that comes out takes one row of weights (O, I, kh, kw)
            total += math.prod(output[1:]) * math.prod(weights[1:])
        elif node.op_type == "ConvTranspose":  # every value that goes in is spread over one row of weights (I, O, ...)
            total += math.prod(image[1:]) * math.prod(weights[1:])
        else:
            total += math.prod(output[1:]) * image[-1]
    return total


def write_graphs(folder: Path, graphs: dict[str, tuple]) -> dict[str, int]:
    """Writes and checks graphs {file name: (module, inputs, output, batched)}; returns their multiply-accumulates."""
    macs = {}
    for name, (module, inputs, output, batched) in graphs.items():
        write_graph(module, folder / name, inputs, output, batched)
        check_graph(folder / name, module, inputs)
        macs[name] = graph_macs(folder / name, inputs)
        size = (folder / name).stat().st_size
        print(f"{name}: {macs[name] / 1e6:.1f} MMAC, {size / 1e6:.2f} MB, matches the model")
    return macs


def write_int8(
    path: Path, module: EncoderGraph, inputs: dict[str, torch.Tensor], photos: torch.Tensor
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Writes the int8 form of an encoder, calibrated on photos (M, 3, H, W), and compares the two on them.

    Returns what the file computes: tensor (B, 3, H, W) -> latent (B, C, h, w).
    """
    graph = trace_graph(module, inputs, ("latent", "exit_logits"), batched=False, opset=INT8_OPSET)
    tensor = normalise(photos)
    save_graph(quantise_graph(graph, tensor[:, None].numpy()), path)
    session = open_graph(path.read_bytes())

    def encode(tensors: torch.Tensor) -> torch.Tensor:
        latents = [session.run(["latent"], {"tensor": one[None].numpy()})[0] for one in tensors]
        return torch.from_numpy(np.concatenate(latents))

    with torch.no_grad():
        expected = module(tensor)[0]
    error = float((encode(tensor) - expected).square().mean().sqrt() / expected.std())
    if not error < INT8_ERROR:
        raise RuntimeError(
            f"{path.name} differs from the trained model by {error:.2f} of its deviation; export with --no-int8"
        )
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, rounding adds {error:.1%} of the latent's deviation")
    return encode


def check_batches(path: Path, symbols: torch.Tensor, twin: Sequence[int]) -> None:
    """A batch of every operating point decodes as each alone, and as its twin; symbols (C, h, w)."""
    session, points = open_graph(path.read_bytes()), np.arange(len(twin))
    batch = symbols[None].expand(len(points), -1, -1, -1).numpy()
    together = session.run(None, {"symbols": batch, "point": points})[0]
    tolerance = 1e-5 * np.abs(together).max()
    for p in points:
        alone = session.run(None, {"symbols": batch[:1], "point": points[p : p + 1]})[0][0]
        if max(np.abs(alone - together[p]).max(), np.abs(alone - together[twin[p]]).max()) > tolerance:
            raise RuntimeError(f"{path.name}: point {p} decodes differently in a batch of several; not exported")


def check_same_decoder(old: Path, new: Path, symbols: torch.Tensor, points: int) -> None:
    """Edges that wrote with the old bundle's codecs are decoded by the new one's; symbols (C, h, w)."""
    inputs = {"symbols": symbols[None].expand(points, -1, -1, -1).numpy(), "point": np.arange(points)}
    before, after = (run_graph(folder / "decoder.onnx", inputs) for folder in (old, new))
    if before.shape != after.shape or np.abs(before - after).max() > 1e-5 * np.abs(before).max():
        raise ValueError(f"{old} has another decoder: only a run that began --from its own can extend it")


def keep_codecs(bundle: Path, manifest: dict[str, Any], out: Path, own: str) -> list[dict[str, str]]:
    """Copies the tables of a bundle's codecs; the entries for the manifest, without the new one's `own` id."""
    kept = []
    for codec in manifest["codecs"]:
        if codec["id"] != own:
            name = f"tables-{codec['id']}.bin"
            shutil.copyfile(bundle / codec["tables"], out / name)
            kept.append({"id": codec["id"], "tables": name})
    return kept


def check_rate(model: SplitModel, codec: Codec, p: int, twin: int, latent: torch.Tensor) -> None:
    """The coder's words for latent (C, h, w) at point p are within 3 % (and a word) of what the entropy model says."""
    symbols, point = quantise(latent.numpy(), p, codec.tables), torch.tensor([twin])
    runs = Runs(codec.tables.table_of[p].tolist(), symbols[0].size)
    data = rans_encode(symbols.ravel().tolist(), runs, codec.tables.tables, lanes=1)
    words = 8 * (len(data) - 4)  # without the coder's state
    estimate = float(model.symbol_bits(torch.from_numpy(symbols)[None].float(), point).sum())
    if abs(words - estimate) > 0.03 * estimate + 32:
        raise RuntimeError(
            f"point {p}: {words} bits coded where the entropy model says {estimate:.0f}; the tables do not fit"
        )


@torch.no_grad()
def expected_bpp(
    model: SplitModel, pixels: torch.Tensor, encoders: dict[int, Callable[[torch.Tensor], torch.Tensor]] | None = None
) -> dict[int, float]:
    """Mean bits per pixel of the entropy model on photos (M, 3, H, W), per operating point of the model.

    encoders: other encoders than the model's, by n; then only their points.
    """
    if encoders is None:
        encoders = {n: lambda tensor, n=n: model.encoder(tensor, n) for n in model.config.stops}
    bits = {p: 0.0 for p, (n, _) in enumerate(model.config.points()) if n in encoders}
    for batch in tqdm(pixels.split(RATE_BATCH), desc="rates", unit="batch"):
        tensor = normalise(batch)
        latents = {n: encode(tensor) for n, encode in encoders.items()}
        for p in bits:
            point = torch.full((len(batch),), p)
            symbols = model.quantise(latents[model.config.points()[p][0]], point)
            bits[p] += float(model.symbol_bits(symbols, point).sum(dtype=torch.float64))
    return {p: total / pixels[:, 0].numel() for p, total in bits.items()}


def export(args: argparse.Namespace) -> Path:
    """Writes the bundle of the run `args.run` to `args.out`; returns the folder."""
    check_target(args.out)
    model, saved = load_average(args.run / "last.pt")
    config = model.config
    network = load_unsplit(args.weights, args.extends)
    check_network(args.run, config, args.weights or args.extends, network)
    if config.cloud_fixed and not args.extends:
        raise ValueError(f"{args.run} has the cloud half of a bundle that exists: --extends says which")
    extended = json.loads((args.extends / "manifest.json").read_text()) if args.extends else None
    if not args.classes and not extended:
        raise ValueError("--classes is missing: only a bundle that --extends names brings its own")
    classes = read_classes(args.classes, config.classes) if args.classes else extended["classes"]
    int8 = args.int8 if args.int8 is not None else extended is None or has_int8(extended)
    if extended and int8 != has_int8(extended):
        raise ValueError(
            f"{args.extends} {'has' if has_int8(extended) else 'has no'} int8 encoders: codecs of one bundle have the "
            "same operating points; leave out --int8 and --no-int8"
        )
    classifier = model.classifier or network
    round_weights(model.encoder, model.decoder, model.exits, network, classifier)

    out = open_folder(args.out)
    calibration, _ = load_photos(args.data, "train", CALIBRATION_PHOTOS, config.size)
    provenance = {"calibration": {"data": f"{args.data.name} train", "images": len(calibration)}}
    if not config.cloud_fixed:  # its decoder has the steps of the bundle that it extends
        limited = model.limit_gains(normalise(calibration), args.finest)
        provenance["finest"] = {"stepsPerDeviation": args.finest, "limited": limited}

    # The float32 points are the model's own. An int8 point has gains, tables and decoder of its twin among them.
    own = config.points()
    int8_stops = [n for n in config.stops if int8 and n >= INT8_FROM]
    twin = [*range(len(own)), *(p for p, (n, _) in enumerate(own) if n in int8_stops)]

    gain, median = (t.float().numpy() for t in model.gains())
    pool, index = pool_tables(build_tables(model, model.step_median))
    tables = write_tables(gain[twin], median[twin], index.reshape(gain.shape)[twin], pool)
    (out / "tables.bin").write_bytes(tables)
    # One id per training run: encoders adapted from it later inherit it.
    latent_space = args.latent_space_id or (extended or {}).get("latentSpaceId") or secrets.token_hex(16)
    codecs = [{"id": codec_id(tables, latent_space), "tables": "tables.bin"}]

    side = config.size
    image = torch.linspace(-1, 1, 2 * 3 * side * side).reshape(2, 3, side, side)
    with torch.no_grad():
        latent = model.encoder(image, config.stops[-1])
        features = network.stem(image)
    channels, h, w = latent.shape[1:]
    symbols = torch.randint(-3, 4, latent.shape, generator=torch.Generator().manual_seed(1)).short()
    points = torch.tensor([0, len(twin) - 1])
    graphs = {
        **{f"encoder-n{n}.onnx": (
            EncoderGraph(model.encoder, model.exits[str(n)], n), {"tensor": image[:1]}, ("latent", "exit_logits"), False
        ) for n in config.stops},
        "decoder.onnx": (DecoderGraph(model, twin), {"symbols": symbols, "point": points}, "features", True),
        "classifier.onnx": (ClassifierGraph(classifier), {"features": features}, "logits", True),
        # a classifier that learned jointly is not behind its stem: then the two are no unsplit network
        **({} if config.joint else {"stem.onnx": (StemGraph(network), {"tensor": image}, "features", True)}),
    }  # fmt: skip
    macs = write_graphs(out, graphs)
    check_batches(out / "decoder.onnx", symbols[0], twin)
    if extended:
        check_same_decoder(args.extends, out, symbols[0], len(twin))
        codecs += keep_codecs(args.extends, extended, out, codecs[0]["id"])

    int8_encoders = {}
    for n in int8_stops:
        module = EncoderGraph(model.encoder, model.exits[str(n)], n)
        int8_encoders[n] = write_int8(out / f"encoder-n{n}-int8.onnx", module, {"tensor": image[:1]}, calibration)

    rate_split = args.rate_split if has_split(args.data, args.rate_split) else "train"
    pixels, _ = load_photos(args.data, rate_split, args.rate_photos, side)
    bpp = [*expected_bpp(model, pixels).values()]
    if int8_encoders:
        bpp += expected_bpp(model, pixels, int8_encoders).values()
    codec = load_codec(tables, latent_space)
    with torch.no_grad():
        for p in tqdm(range(len(twin)), desc="coding", unit="point"):
            n, _ = own[twin[p]]
            tensor = normalise(pixels[:1])
            latent = model.encoder(tensor, n) if p < len(own) else int8_encoders[n](tensor)
            check_rate(model, codec, p, twin[p], latent[0])
    manifest = {
        "format": "raccoon-bundle",
        "formatVersion": FORMAT_VERSION,
        "name": args.out.name,
        "version": args.version,
        "licence": "Apache-2.0",
        "description": args.description or describe(config),
        "provenance": {
            "classifier": origin(network, args.weights) if args.weights else extended["provenance"]["classifier"],
            "training": {
                "data": args.data.name, "photos": saved["photos"], "hours": round(saved["seconds"] / 3600, 2),
                "machine": saved["machine"], "command": saved["command"], "seed": saved["seed"],
                "config": config.json(),
            },
            "expectedBpp": {"data": f"{args.data.name} {rate_split}", "images": len(pixels)},
            **provenance,
        },
        "latentSpaceId": latent_space,
        "codecs": codecs,
        "input": {
            "width": side, "height": side, "shortSide": short_side(side), "filter": "bilinear-antialias",
            "mean": [127.5] * 3, "std": [127.5] * 3,
        },
        "latent": {"channels": channels, "height": h, "width": w},
        "features": {"channels": features.shape[1], "height": features.shape[2], "width": features.shape[3]},
        "points": [
            {
                "n": own[t][0], "q": own[t][1],
                **({"precision": "int8", "encoder": f"encoder-n{own[t][0]}-int8.onnx"} if p >= len(own)
                   else {"encoder": f"encoder-n{own[t][0]}.onnx"}),
                "edgeMacs": macs[f"encoder-n{own[t][0]}.onnx"],
                "expectedBpp": round(bpp[p], 4),
            }
            for p, t in enumerate(twin)
        ],
        # the deepest encoder at a middle rate
        "defaultPoint": len(own) - 1 - len(config.rate_targets) // 2,
        **{part: {"file": f"{part}.onnx", "macs": macs[f"{part}.onnx"]} for part in ("decoder", "classifier", "stem")
           if f"{part}.onnx" in macs},
        "exit": {"output": "exit_logits"},
        "classes": classes,
    }  # fmt: skip
    check_size(out, args.max_mb)
    size = close_folder(out, manifest, args.out)
    print(f"{args.out}: {size / 1e6:.2f} MB, {len(twin)} operating points")
    return args.out


def has_int8(manifest: dict[str, Any]) -> bool:
    return any(point.get("precision") == "int8" for point in manifest["points"])


def describe(config: SplitConfig) -> str:
    """One line for people."""
    if config.network == "mobilenet":
        return f"{config.classes:,} classes, label-free split of MobileNetV2 after features.6"
    learned = "trained jointly" if config.joint else "fixed"
    depth = config.network.removeprefix("resnet")
    return f"{config.classes:,} classes, split of ResNet-{depth} behind layer2, its classifier {learned}"


def origin(network: SplitNetwork, weights: Path) -> str | dict[str, Any]:
    """Where the unsplit network comes from: for one of ours, what its training run wrote beside its weights."""
    if network.name == "mobilenet":
        return (
            "MobileNetV2 1.0 224, float form of tf2_mobilenet_v2_1.0_224_ptq.tflite of google-coral/test_data "
            "(Apache-2.0); encoder and decoder trained by Raccoon, label-free"
        )
    metadata = {}
    if weights.suffix == ".safetensors":
        with safe_open(weights, "pt") as file:
            metadata = file.metadata() or {}
    return {
        "network": network.name, "file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        **({"training": json.loads(metadata["training"])} if "training" in metadata else {}),
    }  # fmt: skip


def check_size(folder: Path, megabytes: float) -> None:
    """Refuses a folder of more megabytes (10^6 bytes), and removes it: history keeps every bundle."""
    sizes = {path.name: path.stat().st_size / 1e6 for path in folder.iterdir()}
    if sum(sizes.values()) > megabytes:
        shutil.rmtree(folder)
        largest = ", ".join(f"{name} {sizes[name]:.1f} MB" for name in sorted(sizes, key=sizes.get, reverse=True)[:3])
        raise ValueError(f"not exported: {sum(sizes.values()):.1f} MB ({largest}) are more than --max-mb {megabytes:g}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of a training run (last.pt)")
    parser.add_argument("--weights", type=Path, help="of the unsplit network, as for train; default: --extends' own")
    parser.add_argument("--data", type=Path, required=True, help="photos for the expected rates, as for train")
    parser.add_argument("--rate-split", default="val", help="which split of them; train where it does not exist")
    parser.add_argument("--rate-photos", type=int, help="only the first photos of that split")
    parser.add_argument("--classes", type=Path, help="JSON list of {wnid, name}, default: --extends' own")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder to write; its name is the bundle's")
    parser.add_argument(
        "--int8", action=argparse.BooleanOptionalAction,
        help="int8 encoders as further operating points, calibrated on photos of the train split; default: with them, "
        "or as the bundle that --extends names",
    )  # fmt: skip
    parser.add_argument(
        "--finest", type=float, default=FINEST,
        help="quantisation steps a deviation of a channel, at most: a rate above what the network can use is not spent",
    )  # fmt: skip
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--description", help="one line for people")
    parser.add_argument("--max-mb", type=float, default=28, help="refuses to write a larger bundle, in 10^6 bytes")
    parser.add_argument(
        "--extends", type=Path,
        help="bundle with the same cloud half, for a run that began --from its own: old edges are still understood",
    )  # fmt: skip
    parser.add_argument("--latent-space-id", help="32 hex characters to inherit; a new training run gets its own")
