"""A bundle's folder -> the model that it was exported from: what begins with a bundle needs no run's checkpoint.

    encoder-n*.onnx, decoder.onnx, tables.bin -> SplitModel          stem.onnx, classifier.onnx -> the unsplit network

Weights are the float16 that the export rounded to, so what is loaded computes what the bundle computes. Of the entropy
model a bundle has only the integer tables; `fit_density` makes densities of them.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from tqdm import trange

from .mobilenet import MobileNetV2
from .model import SplitConfig, SplitModel
from .networks import LateResNet, SplitNetwork
from .reference_coder import TOTAL, Tables, load_codec
from .resnet import fold_batch_norms, load_exactly

DENSITY_STEPS = 300
DENSITY_RATE = 0.05


class BundleModel(NamedTuple):
    """A bundle's model. `model.density` has learned nothing; `fit_density` is for those who need it."""

    model: SplitModel  # frozen, in eval mode, on the CPU
    tables: Tables  # of the first codec, for every point of the manifest
    manifest: dict[str, Any]


def read_file(folder: Path, name: str, manifest: dict[str, Any]) -> bytes:
    """A file of a bundle. Raises ValueError if it is not the one that the manifest lists."""
    data = (folder / name).read_bytes()
    if hashlib.sha256(data).hexdigest() != manifest["files"][name]["sha256"]:
        raise ValueError(f"{folder / name} is not what the manifest lists: fetch or export the bundle again")
    return data


def read_manifest(folder: Path) -> dict[str, Any]:
    """Raises ValueError where there is no bundle."""
    try:
        return json.loads((folder / "manifest.json").read_text())
    except FileNotFoundError as error:
        raise ValueError(f"{folder} is no bundle: it has no manifest.json") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder}/manifest.json is no JSON: {error}") from error


def read_config(folder: Path, manifest: dict[str, Any]) -> SplitConfig:
    """The architecture of a bundle. Raises ValueError for one that no run of ours was exported to."""
    training = manifest["provenance"].get("training")
    if not isinstance(training, dict) or "config" not in training:
        raise ValueError(f"{folder} does not say its architecture: only bundles of `raccoon export` can be read back")
    return SplitConfig.parse(training["config"])


def read_weights(data: bytes, prefix: str) -> dict[str, torch.Tensor]:
    """The weights of a graph whose names begin with `prefix`, without it, in float32."""
    weights = {}
    for tensor in onnx.load_from_string(data).graph.initializer:
        name = tensor.name.removesuffix(".f16")
        if name.startswith(prefix):
            weights[name.removeprefix(prefix)] = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
    return weights


def load_bundle(folder: Path) -> BundleModel:
    """The universal model of a bundle that `raccoon export` wrote.

    Raises ValueError for any other folder, for a damaged file, and for a bundle whose encoders do not share their
    blocks, as a shrunk one's do not.
    """
    manifest = read_manifest(folder)
    config = read_config(folder, manifest)
    state: dict[str, torch.Tensor] = {}
    for n in config.stops:
        data = read_file(folder, encoder_file(manifest, n), manifest)
        for name, tensor in read_weights(data, "encoder.").items():
            if not torch.equal(state.setdefault(f"encoder.{name}", tensor), tensor):
                raise ValueError(f"{folder}: encoders differ in {name}; give the bundle that they were made of")
        state |= {f"exits.{n}.{name}": tensor for name, tensor in read_weights(data, "exit_head.").items()}
    state |= read_weights(read_file(folder, manifest["decoder"]["file"], manifest), "model.")
    if config.joint:
        weights = read_weights(read_file(folder, manifest["classifier"]["file"], manifest), "network.")
        state |= {f"classifier.{name}": tensor for name, tensor in weights.items()}

    first = manifest["codecs"][0]
    tables = load_codec(read_file(folder, first["tables"], manifest), manifest["latentSpaceId"]).tables
    state["log_gain"] = torch.from_numpy(tables.gain[: len(config.points())].copy()).log()

    model = SplitModel(config)
    densities = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("density.")}
    load_exactly(model, state | densities, f"{folder} has another architecture than it says")
    return BundleModel(model.eval().requires_grad_(False), tables, manifest)


def encoder_file(manifest: dict[str, Any], n: int, precision: str = "float32") -> str:
    """The name of the encoder with n blocks and this arithmetic. Raises ValueError where there is none."""
    for point in manifest["points"]:
        if (point["n"], point.get("precision", "float32")) == (n, precision):
            return point["encoder"]
    raise ValueError(f"{manifest['name']} has no {precision} encoder of n={n}")


def load_bundle_network(folder: Path) -> SplitNetwork:
    """The frozen unsplit network of a bundle that has its stem, BatchNorms folded."""
    manifest = read_manifest(folder)
    config = read_config(folder, manifest)
    if "stem" not in manifest:
        raise ValueError(f"{folder} has no stem, so no unsplit network: give its --weights")
    if config.network == "mobilenet":
        network: SplitNetwork = MobileNetV2(config.classes)
    else:
        network = fold_batch_norms(LateResNet(int(config.network.removeprefix("resnet")), config.classes))
    state = {}
    for part in ("stem", "classifier"):
        state |= read_weights(read_file(folder, manifest[part]["file"], manifest), "network.")
    load_exactly(network, state, f"{folder} has another network than it says")
    return network.eval().requires_grad_(False)


def fit_density(model: SplitModel, tables: Tables, steps: int = DENSITY_STEPS) -> float:
    """Fits the densities of a loaded model to its tables, all points of a stop at once; half a minute.

    Returns the mean bits a symbol, over points and channels, that they cost more than the tables do.
    """
    points, channels = model.log_gain.shape
    reach = max(max(abs(table.offset), abs(table.offset + table.escape)) for table in tables.tables)
    symbols = torch.arange(-reach, reach + 1)
    target = torch.zeros(points, channels, len(symbols))  # probabilities, the escapes' left out
    for p in range(points):
        for c in range(channels):
            table = tables.tables[tables.table_of[p, c]]
            start = table.offset + reach
            target[p, c, start : start + table.escape] = torch.tensor(table.frequencies[:-1]) / TOTAL
    entropy = -torch.special.xlogy(target, target).sum(-1) / np.log(2)

    density = model.density.requires_grad_(True)
    optimiser = torch.optim.Adam(density.parameters(), lr=DENSITY_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    every = torch.arange(points)
    for _ in trange(steps, desc="densities", unit="step"):
        likelihood = model.likelihood(symbols + model.step_median[:, :, None], every)
        excess = (-(target * likelihood.log2()).sum(-1) - entropy).mean()
        optimiser.zero_grad(set_to_none=True)
        excess.backward()
        optimiser.step()
        schedule.step()
    density.requires_grad_(False)
    return float(excess.detach())
