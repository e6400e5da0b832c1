"""Turns a checkpoint of the paper's reference implementation into a bundle. `--help` has examples.

Reads a state dict with `bottleneck_layer.encoder.*`, `.decoder.*`, `.entropy_bottleneck.*` (CompressAI's), `layer2` ...
`layer4` and `fc`: every N of the paper's model, its configuration B and Entropic Student, on ResNet-18, 34 or 50. The
checkpoint of a `PaperModel` will do as well. Coding tables are the checkpoint's own where it has them.
"""

import argparse
import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .bundle import check_target, close_folder, open_folder
from .decoder import LightDecoder, PaperDecoder
from .entropic_student import GDN, QuarterDecoder, StudentDecoder, StudentEncoder
from .evaluate_paper import load_paper
from .export import FORMAT_VERSION, ClassifierGraph, StemGraph, round_weights, write_graphs
from .images import has_split, load_photos, short_side
from .labels import read_classes
from .mobilenet import MobileNetV2
from .paper import PaperModel, PatchEncoder
from .paper_config import Backbone, load_teacher
from .reference_coder import Codec, load_codec, quantise, steps_of, write_tables
from .resnet import ResNet, ResNetClassifier, depth_of, fold_batch_norms, load_exactly, read_weights
from .tables import TOTAL, build_tables, pool_tables, quantise_probabilities

RATE_BATCH = 16  # photos at once for the expected rate

State = Mapping[str, torch.Tensor]
CodingTables = list[tuple[int, np.ndarray]]  # (offset, frequencies) per channel

# from CompressAI's and the reference implementation's names to ours, in this order
RENAMED = [
    (r"bottleneck_layer\.(encoder|decoder)\.", r"\1."),
    (r"((?:en|de)coder\.\d+)\.conv_([12])\.", r"\1.conv\2."),
    (r"((?:en|de)coder\.\d+)\.(beta|gamma)$", r"\1.parametrizations.\2.original"),
    (r"bottleneck_layer\.entropy_bottleneck\.(?:_matrix|matrices\.)(\d)$", r"bottleneck.density.matrices.\1"),
    (r"bottleneck_layer\.entropy_bottleneck\.(?:_bias|biases\.)(\d)$", r"bottleneck.density.biases.\1"),
    (r"bottleneck_layer\.entropy_bottleneck\.(?:_factor|factors\.)(\d)$", r"bottleneck.density.gates.\1"),
    (r"bottleneck_layer\.entropy_bottleneck\.", "bottleneck."),
    (r"(layer[234]|fc)\.", r"classifier.\1."),
]
# what is the same in every checkpoint, or not a part of what serves
CONSTANTS = r"_teacher\.|.*\.(beta|gamma)_reparam\.|bottleneck\.(target|.*likelihood_lower_bound\.bound)$"


class Imported(NamedTuple):
    """A model in evaluation mode and the table of every latent channel."""

    model: PaperModel
    tables: CodingTables


def import_state(state: State) -> Imported:
    """Builds the network that the names and shapes of a checkpoint's state dict describe, and loads it.

    Raises ValueError, naming the first weight that is missing or does not belong.
    """
    parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in PaperModel.PARTS}
    for name, tensor in renamed(state).items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise ValueError(f"{name} belongs to no part of the reference's model; see import-bundle --help")
        parts[part][rest] = tensor
    for part, first in (("encoder", "0.weight"), ("decoder", "0.weight"), ("classifier", "fc.weight")):
        if first not in parts[part]:
            raise ValueError(f"no weights of the {part} (bottleneck_layer.encoder, .decoder, layer2 ... layer4, fc)")
    classifier = ResNetClassifier(depth_of(parts["classifier"]), len(parts["classifier"]["fc.weight"]))
    encoder, decoder = build_ends(parts["encoder"], parts["decoder"], classifier.feature_channels)
    model = PaperModel(encoder, decoder, classifier)
    for part in ("encoder", "decoder", "classifier"):
        load_exactly(getattr(model, part), parts[part], f"the {part} (classifier: ResNet-{classifier.depth})")
    tables = load_entropy_model(model, parts["bottleneck"])
    return Imported(model.eval().requires_grad_(False), tables)


def open_checkpoint(path: Path) -> tuple[PaperModel, CodingTables, Backbone]:
    """The model of a checkpoint, of `train-paper` or in the reference's layout, and the tables of its channels."""
    if path.is_file():
        try:
            model, config, _ = load_paper(path)
        except ValueError:
            pass  # not of ours
        else:
            return model, build_tables(model.bottleneck.density, model.bottleneck.median), config.backbone
    try:
        model, tables = import_state(read_weights(path))
    except ValueError as error:
        raise ValueError(f"{path} cannot be imported: {error}") from error
    return model, tables, Backbone(f"resnet{model.classifier.depth}", model.classifier.fc.out_features)


def renamed(state: State) -> dict[str, torch.Tensor]:
    """The state dict with a `PaperModel`'s names and shapes, without constants. CompressAI's tables keep theirs."""
    result = {}
    for old, tensor in state.items():
        name = old
        for pattern, replacement in RENAMED:
            name = re.sub(f"^{pattern}", replacement, name)
        if name.endswith("gamma.original"):
            result[name] = tensor.reshape(*tensor.shape[:2], 1, 1)
        elif name.startswith("bottleneck.density.") and name != old:
            result[name] = tensor[None]  # one operating point
        elif not re.match(CONSTANTS, name):
            result[name] = tensor
    return result


def build_ends(encoder: State, decoder: State, feature_channels: int) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder of the architecture that their weights have."""
    width, _, _, patch = encoder["0.weight"].shape
    if "1.parametrizations.gamma.original" in encoder:
        return StudentEncoder(width // 4), StudentDecoder(width // 4, feature_channels)
    if patch not in (4, 8):
        raise ValueError(f"the encoder starts with patches of {patch} px; known are 8 (the paper's) and 4 (Table I, B)")
    blocks = sum(name.endswith(".conv1.weight") for name in encoder)
    project = encoder.get(f"{max(blocks, 1) + 1}.weight")  # behind the blocks, or behind the one GELU
    if project is None:
        raise ValueError(f"the encoder has {blocks} residual blocks and no projection behind them")
    light = "1.reduce.weight" in decoder
    kind = LightDecoder if light else PaperDecoder if patch == 8 else QuarterDecoder
    return PatchEncoder(blocks, patch, width, len(project)), kind(len(project), feature_channels)


def load_entropy_model(model: PaperModel, entropy: State) -> CodingTables:
    """Loads medians and, where they are there, densities; returns the checkpoint's tables, or else the densities'."""
    channels = model.encoder.latent_channels
    bottleneck = model.bottleneck
    with torch.no_grad():
        if "quantiles" in entropy:
            bottleneck.quantiles.copy_(shaped(entropy["quantiles"], (channels, 3), "quantiles"))
        if "_medians" in entropy:
            bottleneck.quantiles[:, 1] = shaped(entropy["_medians"], (channels,), "_medians")
    if "quantiles" not in entropy and "_medians" not in entropy:
        raise ValueError("the entropy model has neither quantiles nor _medians: nothing says where to round")

    density = {name.removeprefix("density."): w for name, w in entropy.items() if name.startswith("density.")}
    if density:
        load_exactly(bottleneck.density, density, "the densities of the entropy model")
    if entropy.get("_quantized_cdf", torch.empty(0)).numel():  # empty until CompressAI's update()
        return tables_of(*(entropy.get(name) for name in ("_quantized_cdf", "_cdf_length", "_offset")), channels)
    if not density:
        raise ValueError("the entropy model has neither _quantized_cdf nor densities (_matrix0 ...); save all of it")
    return build_tables(bottleneck.density, bottleneck.median)


def shaped(tensor: torch.Tensor, shape: tuple[int, ...], name: str) -> torch.Tensor:
    if tensor.numel() != math.prod(shape):
        raise ValueError(f"{name} has {tuple(tensor.shape)} values where the latent needs {shape}")
    return tensor.reshape(shape)


def tables_of(
    cdf: torch.Tensor, length: torch.Tensor | None, offset: torch.Tensor | None, channels: int
) -> CodingTables:
    """CompressAI's cumulative counts (C, L), their lengths (C) and offsets (C) -> (offset, frequencies) per channel.

    Its tables have ours' form: counts up to 65536, the last entry the escape. So the frequencies are kept exactly;
    only counts of another precision, or without anything for some symbol, are brought to 65536 with at least 1 each.
    """
    if length is None or offset is None or not len(cdf) == len(length) == len(offset) == channels:
        raise ValueError(f"_quantized_cdf, _cdf_length and _offset must each have a row for {channels} latent channels")
    tables = []
    for c, (row, entries, first) in enumerate(zip(cdf.tolist(), length.tolist(), offset.tolist(), strict=True)):
        frequencies = np.diff(row[:entries])
        if not 3 <= entries <= len(row) or row[0] != 0 or frequencies.min() < 0 or row[entries - 1] <= 0:
            raise ValueError(f"_quantized_cdf of channel {c} is not a cumulative count of {entries} entries from 0")
        if frequencies.sum() != TOTAL or frequencies.min() < 1:
            frequencies = quantise_probabilities(frequencies.astype(float))
        tables.append((first, frequencies))
    return tables


class PaperDecoderGraph(nn.Module):
    """symbols (B, C, h, w) int16 and point (B) int64, always 0 -> features (B, F, h, w)."""

    def __init__(self, model: PaperModel):
        super().__init__()
        self.decoder = model.decoder
        self.register_buffer("median", model.bottleneck.median)  # (1, C)

    def forward(self, symbols: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        return self.decoder(symbols.float() + self.median[point][:, :, None, None])


@torch.no_grad()
def expected_bpp(encoder: nn.Module, codec: Codec, pixels: torch.Tensor, backbone: Backbone) -> float:
    """Mean bits per pixel of photos (M, 3, H, W) by the coding tables, escapes included."""
    bits, tables = 0.0, codec.tables
    for batch in tqdm(pixels.split(RATE_BATCH), desc="rate", unit="batch"):
        symbols = np.stack([quantise(latent, 0, tables) for latent in encoder(backbone.tensor(batch)).numpy()])
        for c in range(symbols.shape[1]):
            table = tables.tables[tables.table_of[0, c]]
            for symbol, count in zip(*np.unique(symbols[:, c], return_counts=True), strict=True):
                steps = steps_of(int(symbol), table)
                bits += count * sum(precision - math.log2(frequency) for _, frequency, precision in steps)
    return bits / pixels[:, 0].numel()


def run(args: argparse.Namespace) -> Path:
    """Writes the bundle of the checkpoint `args.checkpoint` to `args.out`; returns the folder."""
    check_target(args.out)
    model, coding_tables, backbone = open_checkpoint(args.checkpoint)
    classes = read_classes(args.classes, backbone.classes)
    unsplit = load_teacher(args.stem) if args.stem else None
    if unsplit is not None:
        check_same_classifier(model.classifier, unsplit, args.stem)
    rate_split = args.rate_split if has_split(args.data, args.rate_split) else "train"
    pixels, _ = load_photos(args.data, rate_split, args.rate_photos, backbone.size)

    for module in model.modules():
        if isinstance(module, GDN):
            module.fold()
    classifier = fold_batch_norms(model.classifier)
    stem = None if unsplit is None else fold_batch_norms(unsplit)
    round_weights(model.encoder, model.decoder, classifier, *([] if stem is None else [stem]))

    out = open_folder(args.out)
    pool, index = pool_tables(coding_tables)
    median = model.bottleneck.median.numpy()
    tables = write_tables(np.ones_like(median), median, index.reshape(median.shape), pool)
    (out / "tables.bin").write_bytes(tables)
    # The weights' own hash: importing them twice, on edge and cloud, gives the same codec.
    digest = hashlib.sha256(args.checkpoint.read_bytes()).hexdigest()
    codec = load_codec(tables, args.latent_space_id or digest[:32])

    side, (mean, std) = backbone.size, backbone.mean_and_std
    image = torch.linspace(-2, 2, 2 * 3 * side * side).reshape(2, 3, side, side)
    latent = model.encoder(image[:1])
    symbols = torch.randint(-3, 4, (2, *latent.shape[1:]), generator=torch.Generator().manual_seed(1)).short()
    point = torch.zeros(2, dtype=torch.long)
    decoder = PaperDecoderGraph(model)
    features = decoder(symbols, point)
    encoder_file = f"encoder-n{model.encoder.blocks}.onnx"
    graphs = {
        encoder_file: (model.encoder, {"tensor": image[:1]}, "latent", False),
        "decoder.onnx": (decoder, {"symbols": symbols, "point": point}, "features", True),
        "classifier.onnx": (ClassifierGraph(classifier), {"features": features}, "logits", True),
    }
    if stem is not None:
        graphs["stem.onnx"] = (StemGraph(stem), {"tensor": image}, "features", True)
    macs = write_graphs(out, graphs)

    bpp = expected_bpp(model.encoder, codec, pixels, backbone)
    shape = ("channels", "height", "width")
    manifest = {
        "format": "raccoon-bundle",
        "formatVersion": FORMAT_VERSION,
        "name": args.out.name,
        "version": args.version,
        "licence": args.licence,
        "description": args.description or f"{len(classes)} classes, {backbone}",
        "provenance": {
            "checkpoint": {"file": args.checkpoint.name, "sha256": digest},
            **({} if unsplit is None else {"stem": args.stem.name}),
            "expectedBpp": {"data": f"{args.data.name} {rate_split}", "images": len(pixels)},
        },
        "latentSpaceId": args.latent_space_id or digest[:32],
        "codecs": [{"id": codec.id, "tables": "tables.bin"}],
        "input": {
            "width": side, "height": side, "shortSide": short_side(side), "filter": "bilinear-antialias",
            "mean": list(mean), "std": list(std),
        },
        "latent": dict(zip(shape, latent.shape[1:], strict=True)),
        "features": dict(zip(shape, features.shape[1:], strict=True)),
        "points": [{
            "n": model.encoder.blocks, "q": 0, "encoder": encoder_file,
            "edgeMacs": macs[encoder_file], "expectedBpp": round(bpp, 4),
        }],
        "defaultPoint": 0,
        **{part: {"file": f"{part}.onnx", "macs": macs[f"{part}.onnx"]} for part in ("decoder", "classifier", "stem")
           if f"{part}.onnx" in macs},
        "classes": classes,
    }  # fmt: skip
    size = close_folder(out, manifest, args.out)
    print(f"{args.out}: {size / 1e6:.2f} MB, {bpp:.3f} bits per pixel")
    return args.out


def check_same_classifier(classifier: nn.Module, unsplit: ResNet | MobileNetV2, path: Path) -> None:
    """stem.onnx and classifier.onnx together must be the unsplit network, or nobody can compare with it.

    Equal within float16, in which either may have been stored.
    """
    own = classifier.state_dict()
    behind = unsplit.without_stem() if isinstance(unsplit, MobileNetV2) else unsplit.classifier()
    for name, weight in behind.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        if name not in own or own[name].shape != weight.shape or not torch.allclose(own[name], weight, 2e-3, 1e-6):
            raise ValueError(
                f"{path} has another {name} than the checkpoint: a classifier that was trained jointly is not behind "
                "its stem. Leave --stem out"
            )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, required=True, help="state dict, .safetensors or PyTorch's format")
    parser.add_argument("--stem", type=Path, help="weights of the unsplit network: adds stem.onnx")
    parser.add_argument("--data", type=Path, required=True, help="photos for the expected rate, as for train")
    parser.add_argument("--rate-split", default="val", help="which split of them; train where it does not exist")
    parser.add_argument("--rate-photos", type=int, help="only the first photos of that split")
    parser.add_argument("--classes", type=Path, required=True, help="JSON list of {wnid, name}, in the logits' order")
    parser.add_argument("--out", type=Path, required=True, help="bundle folder to write; its name is the bundle's")
    parser.add_argument("--licence", required=True, help="the weights' licence, such as Apache-2.0")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--description", help="one line for people")
    parser.add_argument("--latent-space-id", help="32 hex characters; by default from the checkpoint's hash")
