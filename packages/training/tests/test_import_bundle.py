import argparse
import hashlib
import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_resnet import random_state

from raccoon_training import import_bundle as importing
from raccoon_training.decoder import LightDecoder, PaperDecoder
from raccoon_training.entropic_student import StudentDecoder, StudentEncoder
from raccoon_training.export import run_graph
from raccoon_training.images import load_photos
from raccoon_training.import_bundle import import_state, tables_of
from raccoon_training.paper import PatchEncoder, paper_model
from raccoon_training.reference_coder import decode_bitstream, encode_bitstream, load_codec, quantise
from raccoon_training.resnet import ResNet, ResNetClassifier, load_exactly, normalise

CLASSES = 5


def reference_state(
    encoder: str = "n2", channels: int = 64, features: int = 64, tables: str = "updated"
) -> dict[str, torch.Tensor]:
    """A state dict in the reference implementation's layout, with a ResNet-18 behind: names and shapes written out."""
    state: dict[str, torch.Tensor] = {}

    def conv(name: str, *shape: int, bias: bool = True, gain: float = 1.0) -> None:
        state[f"bottleneck_layer.{name}.weight"] = gain * torch.randn(shape) / math.prod(shape[1:]) ** 0.5
        if bias:
            state[f"bottleneck_layer.{name}.bias"] = 0.1 * torch.randn(shape[0])

    def gdn(name: str, width: int) -> None:
        name = f"bottleneck_layer.{name}"
        state[f"{name}.beta"] = torch.rand(width) + 0.5
        state[f"{name}.gamma"] = 0.1 * torch.rand(width, width)
        for part in ("beta", "gamma"):
            state[f"{name}.{part}_reparam.pedestal"] = torch.tensor([2.0**-36])
            state[f"{name}.{part}_reparam.lower_bound.bound"] = torch.tensor([1e-3])

    if encoder == "student":
        conv("encoder.0", 4 * channels, 3, 5, 5, bias=False)
        gdn("encoder.1", 4 * channels)
        conv("encoder.2", 2 * channels, 4 * channels, 5, 5, bias=False)
        gdn("encoder.3", 2 * channels)
        conv("encoder.4", channels, 2 * channels, 2, 2, bias=False, gain=20.0)
        conv("decoder.0", 2 * features, channels, 2, 2, bias=False)
        gdn("decoder.1", 2 * features)
        conv("decoder.2", features, 2 * features, 2, 2, bias=False, gain=0.1)
        gdn("decoder.3", features)
        conv("decoder.4", features, features, 2, 2, bias=False)
    else:
        blocks, (patch, width) = int(encoder[1:]), (8, 128) if encoder[0] == "n" else (4, 72)
        conv("encoder.0", width, 3, patch, patch)
        for i in range(1, blocks + 1):
            conv(f"encoder.{i}.conv_1", width // 2, width, 3, 3)
            conv(f"encoder.{i}.conv_2", width, width // 2, 3, 3)
        conv(f"encoder.{max(blocks, 1) + 1}", channels, width, 1, 1, gain=3.0)
        if patch == 8:
            conv("decoder.0", channels, 256, 5, 5)  # transposed: in, out
            state["bottleneck_layer.decoder.0.bias"] = 0.1 * torch.randn(256)
            layers = [(2, 512, 256, 3), (4, 256, 512, 3), (6, features, 256, 1)]
        else:
            layers = [(0, 512, channels, 3), (2, 256, 512, 3), (4, features, 256, 1)]
        for i, c_out, c_in, kernel in layers:
            conv(f"decoder.{i}", c_out, c_in, kernel, kernel)

    entropy = "bottleneck_layer.entropy_bottleneck"
    widths = (1, 3, 3, 3, 3, 1)
    for i, (w_in, w_out) in enumerate(pairwise(widths)):
        start = math.log(math.expm1(1 / 10**0.2 / w_out))
        state[f"{entropy}._matrix{i}"] = start + 0.1 * torch.randn(channels, w_out, w_in)
        state[f"{entropy}._bias{i}"] = torch.rand(channels, w_out, 1) - 0.5
        if i < 4:
            state[f"{entropy}._factor{i}"] = 0.1 * torch.randn(channels, w_out, 1)
    medians = torch.randn(channels)
    state[f"{entropy}.quantiles"] = torch.stack([medians - 10, medians, medians + 10], 1)[:, None]
    state[f"{entropy}.target"] = torch.tensor([-21.4, 0.0, 21.4])
    state[f"{entropy}.likelihood_lower_bound.bound"] = torch.tensor([1e-9])
    if tables == "updated":
        cdf, length, offset = random_cdfs(channels)
    else:
        cdf, length, offset = (torch.empty(0, dtype=torch.int32) for _ in range(3))
    state |= {f"{entropy}._quantized_cdf": cdf, f"{entropy}._cdf_length": length, f"{entropy}._offset": offset}
    classifier = random_state(18, CLASSES)
    return state | {
        name: w for name, w in classifier.items() if name[:6] in ("layer2", "layer3", "layer4", "fc.wei", "fc.bia")
    }


def random_cdfs(channels: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tables as CompressAI's update() leaves them: bell-shaped, of different lengths, padded with zeros, int32."""
    random = np.random.default_rng(9)
    lengths = random.integers(5, 24, channels)
    cdf, offset = np.zeros((channels, lengths.max()), np.int32), np.zeros(channels, np.int32)
    for c, length in enumerate(lengths):
        symbols = np.arange(length - 2) - (length - 2) // 2
        pmf = np.exp(-np.abs(symbols) / random.uniform(0.5, 4))
        frequencies = 1 + np.floor(np.append(pmf, 0.01) / (pmf.sum() + 0.01) * (65536 - length)).astype(int)
        frequencies[len(symbols) // 2] += 65536 - frequencies.sum()
        cdf[c, 1:length], offset[c] = np.cumsum(frequencies), symbols[0]
    return torch.from_numpy(cdf), torch.from_numpy(lengths.astype(np.int32)), torch.from_numpy(offset)


def arguments(*values: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    importing.add_arguments(parser)
    return parser.parse_args([str(value) for value in values])


@pytest.fixture(scope="module")
def options(tmp_path_factory, photo_folder) -> list:
    """What every import needs beside its checkpoint and its target."""
    classes = tmp_path_factory.mktemp("classes") / "classes.json"
    classes.write_text(json.dumps([{"wnid": f"n{i}", "name": f"class {i}"} for i in range(CLASSES)]))
    return ["--data", photo_folder, "--classes", classes, "--licence", "MIT"]


@pytest.fixture(scope="module", params=["n2", "student"])
def imported(request, tmp_path_factory, options) -> tuple[Path, dict[str, torch.Tensor], ResNet]:
    """(bundle, state dict, unsplit network) of a random checkpoint whose classifier was fixed."""
    torch.manual_seed(8)
    folder = tmp_path_factory.mktemp("import")
    state = reference_state(request.param, 64 if request.param == "n2" else 24)
    whole = random_state(18, CLASSES)
    whole |= {name: w for name, w in state.items() if name in whole}
    unsplit = ResNet(18, CLASSES)
    load_exactly(unsplit, whole, "random")
    torch.save({"model": state, "epoch": 20}, folder / "last.pt")
    save_file(whole, folder / "resnet18.safetensors")
    files = ["--checkpoint", folder / "last.pt", "--stem", folder / "resnet18.safetensors"]
    out = importing.run(arguments(*options, *files, "--out", folder / "imported"))
    return out, state, unsplit.eval().requires_grad_(False)


def test_bundle(imported):
    """The same form as an export's, for ImageNet's preprocessing."""
    bundle, state, _ = imported
    manifest = json.loads((bundle / "manifest.json").read_text())
    blocks = 0 if "bottleneck_layer.encoder.1.beta" in state else 2
    files = {f"encoder-n{blocks}.onnx", "tables.bin", "decoder.onnx", "classifier.onnx", "stem.onnx"}
    assert {path.name for path in bundle.iterdir()} == files | {"manifest.json"}
    for name in files:
        data = (bundle / name).read_bytes()
        assert manifest["files"][name] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert manifest["latent"] == (
        {"channels": 64, "height": 28, "width": 28} if blocks else {"channels": 24, "height": 55, "width": 55}
    )
    assert manifest["features"] == {"channels": 64, "height": 56, "width": 56}
    assert manifest["input"]["mean"] == [123.675, 116.28, 103.53] and manifest["licence"] == "MIT"
    (point,) = manifest["points"]
    assert (point["n"], point["q"], point["encoder"]) == (blocks, 0, f"encoder-n{blocks}.onnx")
    assert point["expectedBpp"] > 0 and manifest["defaultPoint"] == 0
    assert manifest["stem"]["macs"] + manifest["classifier"]["macs"] == pytest.approx(1.814e9, rel=1e-2)
    if blocks:
        assert point["edgeMacs"] == 784 * (32_768 + 147_456 * 2)
    codec = load_codec((bundle / "tables.bin").read_bytes(), manifest["latentSpaceId"])
    assert manifest["codecs"] == [{"id": codec.id, "tables": "tables.bin"}]
    assert manifest["latentSpaceId"] == manifest["provenance"]["checkpoint"]["sha256"][:32]
    assert not list(bundle.parent.glob(".*"))


def test_tables_are_the_checkpoints(imported):
    """The probabilities that CompressAI codes with, symbol by symbol."""
    bundle, state, _ = imported
    manifest = json.loads((bundle / "manifest.json").read_text())
    tables = load_codec((bundle / "tables.bin").read_bytes(), manifest["latentSpaceId"]).tables
    entropy = "bottleneck_layer.entropy_bottleneck"
    cdf, length, offset = (state[f"{entropy}.{name}"] for name in ("_quantized_cdf", "_cdf_length", "_offset"))
    for c in range(len(cdf)):
        table = tables.tables[tables.table_of[0, c]]
        assert table.offset == offset[c]
        assert table.frequencies == cdf[c, : length[c]].diff().tolist()
    assert (tables.gain == 1).all()
    np.testing.assert_array_equal(tables.median[0], state[f"{entropy}.quantiles"][:, 0, 1])


def test_photos_through_codec_and_graphs(imported, photo_folder):
    """encoder.onnx -> bitstream -> decoder.onnx -> classifier.onnx gives what the checkpoint's own network gives."""
    bundle, state, _ = imported
    manifest = json.loads((bundle / "manifest.json").read_text())
    codec = load_codec((bundle / "tables.bin").read_bytes(), manifest["latentSpaceId"])
    model = import_state(state).model
    photos, sizes = normalise(load_photos(photo_folder, "val")[0]), []
    for photo in photos[:, None]:
        latent = run_graph(bundle / manifest["points"][0]["encoder"], {"tensor": photo.numpy()})
        exact = model.encoder(photo)
        error = float((torch.from_numpy(latent) - exact).abs().max())
        assert error < 0.01 * float(exact.std())  # float16 weights
        symbols = quantise(latent[0], 0, codec.tables)
        assert len(np.unique(symbols)) > 10
        slices = encode_bitstream(symbols, 0, codec)
        point, decoded = decode_bitstream(slices, {codec.id: codec})
        assert point == 0 and (decoded == symbols).all()
        sizes.append(sum(map(len, slices)) - 20)  # without header and final state

        features = run_graph(bundle / "decoder.onnx", {"symbols": decoded[None], "point": np.zeros(1, np.int64)})
        logits = run_graph(bundle / "classifier.onnx", {"features": features})
        quantised = torch.from_numpy(symbols[None].astype(np.float32)) + model.bottleneck.median[0, :, None, None]
        expected, _ = model.classifier.tail(model.decoder(quantised))
        np.testing.assert_allclose(logits, expected.numpy(), rtol=0.02, atol=0.02 * float(expected.std()))
    bpp = 8 * np.mean(sizes) / 224**2
    assert bpp == pytest.approx(manifest["points"][0]["expectedBpp"], rel=0.005)


def test_stem_and_classifier_are_the_unsplit_network(imported, photo_folder):
    bundle, _, unsplit = imported
    photo = normalise(load_photos(photo_folder, "val", 1)[0])
    features = run_graph(bundle / "stem.onnx", {"tensor": photo.numpy()})
    logits = run_graph(bundle / "classifier.onnx", {"features": features})
    expected = unsplit(photo).numpy()
    np.testing.assert_allclose(logits, expected, rtol=0.02, atol=0.02 * float(expected.std()))


@pytest.mark.parametrize(("encoder", "channels"), [("n0", 64), ("n4", 64), ("s3", 24), ("student", 24)])
def test_every_architecture_is_recognised(encoder, channels):
    state = reference_state(encoder, channels)
    model, tables = import_state(state)
    assert len(tables) == channels == model.encoder.latent_channels
    assert isinstance(model.encoder, StudentEncoder if encoder == "student" else PatchEncoder)
    assert model.encoder.blocks == (0 if encoder == "student" else int(encoder[1:]))
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    own = model.state_dict()
    for name, weight in state.items():  # every weight has its place
        if "entropy" not in name and "reparam" not in name and "num_batches" not in name:
            same = [
                w for w in own.values() if w.numel() == weight.numel() and torch.equal(w.flatten(), weight.flatten())
            ]
            assert len(same) == 1, name
    assert torch.equal(model.bottleneck.density.matrices[2][0], state["bottleneck_layer.entropy_bottleneck._matrix2"])


def test_gdn_has_compressais_values(generator):
    """beta = max(root, bound)^2 - pedestal, gamma[j, i] for |x_i|; the inverse multiplies."""
    state = reference_state("student", 24)
    model, _ = import_state(state)
    x = torch.randn(1, 96, 3, 3, generator=generator)
    beta = state["bottleneck_layer.encoder.1.beta"].square()
    gamma = state["bottleneck_layer.encoder.1.gamma"].square()
    norm = beta[:, None, None] + torch.einsum("ij,bjhw->bihw", gamma, x.abs())
    torch.testing.assert_close(model.encoder[1](x), x / norm)
    assert isinstance(model.decoder, StudentDecoder) and model.decoder[1].inverse and model.decoder[3].inverse


def test_tables_from_the_densities(generator):
    """A checkpoint that was saved before CompressAI's update() has no tables, but the densities that make them."""
    state = reference_state(tables="empty")
    model, tables = import_state(state)
    assert len(tables) == 64
    for c in (0, 63):
        offset, frequencies = tables[c]
        symbols = torch.arange(offset, offset + len(frequencies) - 1)
        steps = (model.bottleneck.median[0, c] + symbols).expand(1, 64, -1)
        likelihood = model.bottleneck.density.likelihood(steps, torch.tensor([0]))[0, c].numpy()
        assert np.abs(frequencies[:-1] / 65536 - likelihood).max() < 1e-3
    # newer releases of CompressAI keep them in lists
    newer = {}
    for name, weight in state.items():
        for old, new in (("_matrix", "matrices."), ("_bias", "biases."), ("_factor", "factors.")):
            name = name.replace(f"entropy_bottleneck.{old}", f"entropy_bottleneck.{new}")  # noqa: PLW2901
        newer[name] = weight
    again = import_state(newer).tables
    assert all(a == b and (f == g).all() for (a, f), (b, g) in zip(tables, again, strict=True))


def test_medians_of_older_checkpoints():
    state, entropy = reference_state(), "bottleneck_layer.entropy_bottleneck"
    medians = state.pop(f"{entropy}.quantiles")[:, :, 1]
    state[f"{entropy}._medians"] = medians[:, :, None]
    assert torch.equal(import_state(state).model.bottleneck.median, medians.T)
    del state[f"{entropy}._medians"]
    with pytest.raises(ValueError, match="neither quantiles nor _medians"):
        import_state(state)


@pytest.mark.parametrize("decoder", [PaperDecoder, LightDecoder])
def test_a_model_of_our_own(decoder):
    model = paper_model(0, ResNetClassifier(18, CLASSES), decoder)
    model.bottleneck.quantiles.data += torch.randn(64, 3)
    again, tables = import_state(model.state_dict())
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert len(tables) == 64


def test_cumulative_counts_that_cannot_code_are_mended():
    """Another precision, or a symbol without a count."""
    cdf = torch.tensor([[0, 1, 3, 4], [0, 30000, 30000, 65536]])
    (_, first), (offset, second) = tables_of(cdf, torch.tensor([4, 4]), torch.tensor([-1, -7]), 2)
    np.testing.assert_allclose(first / 65536, [0.25, 0.5, 0.25], atol=1e-4)
    np.testing.assert_allclose(second / 65536, [0.45776, 0, 0.54224], atol=1e-4)
    assert first.sum() == second.sum() == 65536 and second[1] == 1 and offset == -7


@pytest.mark.parametrize(
    ("cdf", "length"),
    [([0, 5, 4, 65536], 4), ([1, 5, 9, 65536], 4), ([0, 65536, 0, 0], 2), ([0, 5, 9, 65536], 5), ([0, 0, 0, 0], 4)],
)
def test_no_cumulative_counts(cdf, length):
    with pytest.raises(ValueError, match="channel 0 is not a cumulative count"):
        tables_of(torch.tensor([cdf]), torch.tensor([length]), torch.tensor([0]), 1)


def test_tables_of_real_compressai_streams(shared):
    """What the project's reference streams were coded with is taken over as it is."""
    path = shared / "reference" / "compressai-streams.json"
    if not path.exists():
        pytest.skip(f"no {path}")
    for case in json.loads(path.read_text())["cases"]:
        width = max(case["cdfSizes"])
        cdf = torch.tensor([row[:width] + [0] * (width - len(row)) for row in case["cdfs"]])
        tables = tables_of(cdf, torch.tensor(case["cdfSizes"]), torch.tensor(case["offsets"]), len(cdf))
        for (offset, frequencies), row, size, start in zip(
            tables, case["cdfs"], case["cdfSizes"], case["offsets"], strict=True
        ):
            assert offset == start and np.cumsum(frequencies).tolist() == row[1:size]


def test_checkpoints_of_something_else(options, tmp_path, random_weights):
    def fails(match: str, state: dict | None, *more: object) -> None:
        path = random_weights if state is None else tmp_path / "last.pt"
        if state is not None:
            torch.save(state, path)
        with pytest.raises(ValueError, match=match):
            importing.run(arguments(*options, "--checkpoint", path, "--out", tmp_path / "bundle", *more))
        assert not (tmp_path / "bundle").exists()

    state = reference_state("n0")
    entropy = "bottleneck_layer.entropy_bottleneck"

    def without(*starts: str) -> dict:
        return {name: w for name, w in state.items() if not name.startswith(starts)}

    fails("cannot be imported: features.0.conv.bias belongs to no part", None)
    fails("no weights of the encoder", without("bottleneck_layer.encoder"))
    fails("no weights of the classifier", without("fc"))
    fails("blocks of BasicBlock in layer2", without("layer3.1"))
    fails("the decoder .*: has no 4.bias", without("bottleneck_layer.decoder.4.bias"))
    fails("no projection behind them", without("bottleneck_layer.encoder.2"))
    fails(
        "neither _quantized_cdf nor densities",
        without(*(f"{entropy}.{k}" for k in ("_matrix", "_bias", "_factor", "_quantized"))),
    )
    fails("must each have a row for 64", without(f"{entropy}._offset"))
    fails("patches of 16 px", state | {"bottleneck_layer.encoder.0.weight": torch.zeros(128, 3, 16, 16)})
    fails("quantiles has .* where the latent needs", state | {f"{entropy}.quantiles": torch.zeros(3, 1, 3)})
    classes = tmp_path / "three.json"
    classes.write_text(json.dumps([{"wnid": "n0", "name": "zero"}] * 3))
    fails("has 3 classes, the network 5", state, "--classes", classes)
    for text in ("[", "[1]", '[{"wnid": "n0"}]'):
        classes.write_text(text)
        fails("is no JSON list of {wnid, name}", state, "--classes", classes)
    torch.save(random_state(18, CLASSES), tmp_path / "other.pth")
    fails("Leave --stem out", state, "--stem", tmp_path / "other.pth")


def test_target(options, tmp_path):
    for name in ("My-Bundle", "-a"):
        with pytest.raises(ValueError, match="is no name for a bundle"):
            importing.run(arguments(*options, "--checkpoint", "x", f"--out={tmp_path / name}"))
    (tmp_path / "precious").mkdir()
    with pytest.raises(FileExistsError, match="is not a bundle"):
        importing.run(arguments(*options, "--checkpoint", "x", "--out", tmp_path / "precious"))
