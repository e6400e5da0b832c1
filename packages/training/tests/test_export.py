import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from safetensors.torch import save_file
from test_resnet import random_state
from torch import nn

from raccoon_training import export as exporting
from raccoon_training.checkpoint import load_average, write_checkpoint
from raccoon_training.decoder import PaperDecoder
from raccoon_training.encoder import Encoder
from raccoon_training.export import graph_macs, run_graph, write_graph
from raccoon_training.images import SIZE, load_photos, normalise
from raccoon_training.mobilenet import load_mobilenet
from raccoon_training.model import SplitConfig, SplitModel
from raccoon_training.networks import load_network
from raccoon_training.reference_coder import decode_bitstream, encode_bitstream, load_codec, quantise

# packages/bundle/src/manifest.ts is the schema; it refuses keys that it does not know
MANIFEST = {
    "format", "formatVersion", "name", "version", "licence", "description", "provenance", "latentSpaceId", "codecs",
    "input", "latent", "features", "points", "defaultPoint", "decoder", "classifier", "stem", "exit", "classes",
    "files",
}  # fmt: skip
FILES = {
    "encoder-n0.onnx", "encoder-n1.onnx", "encoder-n2.onnx", "encoder-n1-int8.onnx", "encoder-n2-int8.onnx",
    "tables.bin", "decoder.onnx", "classifier.onnx", "stem.onnx",
}  # fmt: skip


def arguments(*values: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    exporting.add_arguments(parser)
    return parser.parse_args([str(value) for value in values])


@pytest.fixture(scope="module")
def options(tmp_path_factory, random_weights, photo_folder) -> list:
    """A run that stopped before its first step, and what else an export needs."""
    run = tmp_path_factory.mktemp("run")
    torch.manual_seed(4)
    config = SplitConfig(
        encoder_width=8, encoder_hidden=4, latent_channels=6, stops=(0, 1, 2),
        decoder_width=8, decoder_hidden=4, decoder_blocks=1, exit_hidden=4, rate_targets=(0.2, 0.8),
    )  # fmt: skip
    model = SplitModel(config)
    with torch.no_grad():
        photos = normalise(load_photos(photo_folder, "train")[0])
        model.calibrate(photos, load_mobilenet(random_weights).stem(photos))
    model.refresh_median()
    write_checkpoint(run / "last.pt", {
        "average": model.state_dict(), "config": config.json(), "photos": 64, "seconds": 1800.0, "seed": 1,
        "machine": "none", "command": "train --seed 1",
    })  # fmt: skip
    classes = run / "classes.json"
    classes.write_text(json.dumps([{"wnid": f"n{i:02}", "name": f"class {i}"} for i in range(1000)]))
    return ["--run", run, "--weights", random_weights, "--data", photo_folder, "--classes", classes]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, options) -> Path:
    return exporting.export(arguments(*options, "--out", tmp_path_factory.mktemp("bundles") / "small"))


@pytest.fixture(scope="module")
def manifest(bundle) -> dict:
    return json.loads((bundle / "manifest.json").read_text())


@pytest.fixture(scope="module")
def model(options) -> SplitModel:
    """The run's model as the export rounds it."""
    model, _ = load_average(options[1] / "last.pt")
    exporting.round_weights(model.encoder, model.decoder, model.exits)
    return model


@pytest.fixture(scope="module")
def val_photos(photo_folder) -> torch.Tensor:
    return normalise(load_photos(photo_folder, "val")[0])


def test_manifest(bundle, manifest):
    assert manifest.keys() == MANIFEST
    assert (manifest["format"], manifest["formatVersion"], manifest["name"]) == ("raccoon-bundle", 0, "small")
    assert manifest["input"] == {
        "width": 224, "height": 224, "shortSide": 256, "filter": "bilinear-antialias",
        "mean": [127.5] * 3, "std": [127.5] * 3,
    }  # fmt: skip
    assert manifest["latent"] == {"channels": 6, "height": 28, "width": 28}
    assert manifest["features"] == {"channels": 32, "height": 28, "width": 28}
    # the float32 points first, with the indexes that they have without int8
    assert [(p["n"], p["q"]) for p in manifest["points"]] == [
        (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (1, 0), (1, 1), (2, 0), (2, 1),
    ]  # fmt: skip
    for p, point in enumerate(manifest["points"]):
        keys = {"n", "q", "encoder", "edgeMacs", "expectedBpp"}
        assert point.keys() == (keys if p < 6 else keys | {"precision"}) and point["expectedBpp"] > 0
        if p < 6:
            assert point["encoder"] == f"encoder-n{point['n']}.onnx"
        else:
            assert (point["precision"], point["encoder"]) == ("int8", f"encoder-n{point['n']}-int8.onnx")
            twin = manifest["points"][p - 4]
            assert point["edgeMacs"] == twin["edgeMacs"]
            assert point["expectedBpp"] == pytest.approx(twin["expectedBpp"], rel=0.02)
    assert manifest["points"][manifest["defaultPoint"]] == manifest["points"][4]
    assert manifest["provenance"]["calibration"]["images"] == 6
    assert manifest["provenance"]["finest"] == {"stepsPerDeviation": 8, "limited": 0}
    assert len(manifest["classes"]) == 1000 and manifest["classes"][7] == {"wnid": "n07", "name": "class 7"}
    codec = load_codec((bundle / "tables.bin").read_bytes(), manifest["latentSpaceId"])
    assert manifest["codecs"] == [{"id": codec.id, "tables": "tables.bin"}]
    assert manifest["provenance"]["expectedBpp"]["images"] == 3  # all of val
    training = manifest["provenance"]["training"]
    assert {key: training[key] for key in ("photos", "hours", "machine", "command", "seed")} == {
        "photos": 64, "hours": 0.5, "machine": "none", "command": "train --seed 1", "seed": 1,
    }  # fmt: skip


def test_files_and_hashes(bundle, manifest):
    assert {path.name for path in bundle.iterdir()} == FILES | {"manifest.json"}
    assert manifest["files"].keys() == FILES
    for name, entry in manifest["files"].items():
        data = (bundle / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert not list(bundle.parent.glob(".*"))  # nothing half-written is left


def test_costs(manifest, model):
    for point in manifest["points"]:
        exit_macs = model.exits[str(point["n"])].macs(28, 28)
        assert point["edgeMacs"] == model.encoder.macs(SIZE, SIZE, point["n"]) + exit_macs
    assert manifest["decoder"]["macs"] == model.decoder.macs(28, 28)
    # stem and classifier together are MobileNetV2: 300 M multiply-adds
    assert manifest["stem"]["macs"] + manifest["classifier"]["macs"] == pytest.approx(300e6, rel=0.01)
    assert manifest["decoder"]["macs"] < manifest["stem"]["macs"] < manifest["classifier"]["macs"]


def test_graphs_compute_what_the_model_does(bundle, model, random_weights, val_photos):
    network = load_mobilenet(random_weights)

    def check(name: str, expected: torch.Tensor, **inputs: torch.Tensor) -> None:
        actual = run_graph(bundle / name, {key: value.numpy() for key, value in inputs.items()})
        assert actual.dtype == np.float32
        np.testing.assert_allclose(actual, expected.numpy(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))

    for n in (0, 1, 2):  # the latent is the first output, the one that an edge without a local exit takes
        check(f"encoder-n{n}.onnx", model.encoder(val_photos[:1], n), tensor=val_photos[:1])
        session = exporting.open_graph((bundle / f"encoder-n{n}.onnx").read_bytes())
        assert [output.name for output in session.get_outputs()] == ["latent", "exit_logits"]
        (exit_logits,) = session.run(["exit_logits"], {"tensor": val_photos[:1].numpy()})
        expected = model.exits[str(n)](model.encoder.trunk(val_photos[:1], n))
        np.testing.assert_allclose(exit_logits, expected.numpy(), rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    # a batch of three operating points, as the cloud makes them
    symbols, point = torch.randint(-9, 10, (3, 6, 28, 28)).short(), torch.tensor([5, 0, 3])
    features = model.decoder(model.dequantise(symbols.float(), point), point)
    check("decoder.onnx", features, symbols=symbols, point=point)
    check("stem.onnx", network.stem(val_photos), tensor=val_photos)
    check("classifier.onnx", network.tail(features)[0], features=features)


def test_int8_points_decode_as_their_twins(bundle, manifest, model):
    """They have the gains, the tables and the decoder of the float32 point with their n and q."""
    tables = load_codec((bundle / "tables.bin").read_bytes(), manifest["latentSpaceId"]).tables
    for p in range(6, 10):
        for rows in (tables.gain, tables.median, tables.table_of):
            np.testing.assert_array_equal(rows[p], rows[p - 4])
    symbols = torch.randint(-9, 10, (1, 6, 28, 28)).short().expand(10, -1, -1, -1)
    exporting.check_batches(bundle / "decoder.onnx", symbols[0], [0, 1, 2, 3, 4, 5, 2, 3, 4, 5])
    with pytest.raises(RuntimeError, match="point 1 decodes differently"):
        exporting.check_batches(bundle / "decoder.onnx", symbols[0], [0, 0, 2, 3, 4, 5, 2, 3, 4, 5])
    features = run_graph(bundle / "decoder.onnx", {"symbols": symbols.numpy(), "point": np.arange(10)})
    np.testing.assert_array_equal(features[6:], features[2:6])


def test_int8_encoders_are_near_the_float32_ones(bundle, val_photos):
    for n in (1, 2):
        for photo in val_photos[:, None].numpy():
            exact = run_graph(bundle / f"encoder-n{n}.onnx", {"tensor": photo})
            rounded = run_graph(bundle / f"encoder-n{n}-int8.onnx", {"tensor": photo})
            assert 0 < np.sqrt(np.mean((rounded - exact) ** 2)) < 0.1 * exact.std()


def test_without_int8(options, bundle, tmp_path):
    out = exporting.export(arguments(*options, "--out", tmp_path / "plain", "--no-int8"))
    manifest = json.loads((out / "manifest.json").read_text())
    assert len(manifest["points"]) == 6 and not any("precision" in point for point in manifest["points"])
    assert {path.name for path in out.iterdir()} == {name for name in FILES if "int8" not in name} | {"manifest.json"}
    for n in (0, 1, 2):  # the same float32 encoders, with and without
        assert (out / f"encoder-n{n}.onnx").read_bytes() == (bundle / f"encoder-n{n}.onnx").read_bytes()


def test_an_int8_encoder_that_is_broken_is_not_exported(model, val_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "INT8_ERROR", 1e-6)
    module = exporting.EncoderGraph(model.encoder, model.exits["1"], 1)
    with pytest.raises(RuntimeError, match="export with --no-int8"):
        exporting.write_int8(tmp_path / "int8.onnx", module, {"tensor": val_photos[:1]}, torch.zeros(1, 3, 224, 224))


def test_tables_that_do_not_fit_are_not_exported(bundle, manifest, model, val_photos):
    codec = load_codec((bundle / "tables.bin").read_bytes(), manifest["latentSpaceId"])
    latent = model.encoder(val_photos[:1], 2)[0]
    exporting.check_rate(model, codec, 9, 5, latent)
    other = codec.tables.table_of.copy()
    other[9] = other[4]
    with pytest.raises(RuntimeError, match="the tables do not fit"):
        exporting.check_rate(model, replace(codec, tables=replace(codec.tables, table_of=other)), 9, 5, latent)


FLOAT_FILES = sorted(name for name in FILES - {"tables.bin"} if "int8" not in name)


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_weights_are_float16_behind_one_cast(bundle, name):
    graph = onnx.load(bundle / name).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    halves = {name for name, tensor in stored.items() if tensor.data_type == TensorProto.FLOAT16}
    casts = [node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]
    assert sorted(casts) == sorted(halves)
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            assert f"{node.input[1]}.f16" in halves
    # what stays float32 is what float16 would change: gains and medians
    for tensor in stored.values():
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= 16:
            values = numpy_helper.to_array(tensor)
            assert (values.astype(np.float16) != values).any()


def test_coded_photos_decode_to_the_same_and_cost_what_the_manifest_says(bundle, manifest, model, val_photos):
    codec = load_codec((bundle / "tables.bin").read_bytes(), manifest["latentSpaceId"])
    for p, point in enumerate(manifest["points"]):
        sizes = []
        for photo in val_photos:
            latent = run_graph(bundle / point["encoder"], {"tensor": photo[None].numpy()})[0]
            symbols = quantise(latent, p, codec.tables)
            slices = encode_bitstream(symbols, p, codec)
            decoded_point, decoded = decode_bitstream(slices, {codec.id: codec})
            assert decoded_point == p and (decoded == symbols).all()
            sizes.append(len(slices[0]) - 16 - 4)  # without header and final state
        bpp = 8 * np.mean(sizes) / (SIZE * SIZE)
        assert bpp == pytest.approx(point["expectedBpp"], rel=0.01, abs=1e-3)


def test_expected_rates_of_other_photos(options, tmp_path, photo_folder):
    out = tmp_path / "other"
    source = options.copy()
    source[source.index("--data") + 1] = photo_folder / "train"  # no splits: falls back to train, which is all of it
    exporting.export(arguments(*source, "--out", out, "--rate-photos", 2, "--latent-space-id", "ab" * 16))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["provenance"]["expectedBpp"] == {"data": "train train", "images": 2}
    assert manifest["latentSpaceId"] == "ab" * 16


def test_batches_do_not_change_the_rates(model, photo_folder, monkeypatch):
    pixels, _ = load_photos(photo_folder, "train")
    whole = exporting.expected_bpp(model, pixels)
    monkeypatch.setattr(exporting, "RATE_BATCH", 4)  # 4 and 2
    assert exporting.expected_bpp(model, pixels) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize("name", ["My-Bundle", "a b", "-a"])
def test_name_of_a_bundle(options, tmp_path, name):
    with pytest.raises(ValueError, match="is no name for a bundle"):
        exporting.export(arguments(*options, "--out", tmp_path / name))


def test_never_replaces_what_is_no_bundle(options, tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    with pytest.raises(FileExistsError, match="is not a bundle"):
        exporting.export(arguments(*options, "--out", tmp_path / "precious"))
    assert (tmp_path / "precious" / "file").exists()


def test_a_graph_that_differs_is_not_exported(tmp_path):
    decoder, latent = PaperDecoder(3, 5), torch.randn(1, 3, 2, 2)
    write_graph(decoder, tmp_path / "decoder.onnx", {"latent": latent}, "features", batched=True)
    exporting.round_weights(decoder)  # only now: the file has the weights from before
    decoder[0].weight.data *= 1.01
    with pytest.raises(RuntimeError, match="differs from the trained model"):
        exporting.check_graph(tmp_path / "decoder.onnx", decoder, {"latent": latent})


@pytest.mark.parametrize("batched", [False, True])
def test_macs_of_a_graph(tmp_path, batched):
    """Strided, transposed, grouped, with a matrix product at the end; a batch does not count twice."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder(8, 4, 64, stops=(1,))
            self.decoder = PaperDecoder()
            self.depthwise = nn.Conv2d(256, 256, 3, groups=256)
            self.matrix = nn.Linear(256, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.matrix(self.depthwise(self.decoder(self.encoder(x, 1))).mean((2, 3)))

    net, path = Net(), tmp_path / "net.onnx"
    x = torch.zeros(2 if batched else 1, 3, 16, 24)  # latent 2 x 3, features 4 x 6
    write_graph(net, path, {"tensor": x}, "logits", batched=batched)
    expected = net.encoder.macs(16, 24, 1) + net.decoder.macs(2, 3) + 2 * 4 * 256 * 9 + 256 * 10
    assert graph_macs(path, {"tensor": x}) == expected


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory) -> Path:
    """Random weights of two classes, with what a run of train-classifier writes beside them."""
    torch.manual_seed(8)
    path = tmp_path_factory.mktemp("resnet") / "weights.safetensors"
    state = {name: w.contiguous() for name, w in random_state(18, 2).items()}
    save_file(state, path, metadata={"training": json.dumps({"command": "train-classifier --seed 1"})})
    return path


def export_resnet(folder: Path, weights: Path, photos: Path, *more: object, joint: bool) -> tuple[Path, SplitModel]:
    """The bundle of a run that stopped before its first step, and its model as the export rounds it."""
    network = load_network(weights)
    config = replace(
        SplitConfig.beside(network, stops=(0, 1), rate_targets=(0.5,), joint=joint),
        encoder_width=8, encoder_hidden=4, latent_channels=6, decoder_width=8, decoder_hidden=4, decoder_blocks=1,
    )  # fmt: skip
    model = SplitModel(config)
    with torch.no_grad():
        x = normalise(load_photos(photos, "train")[0])
        model.calibrate(x, network.stem(x))
        if joint:
            model.classifier.load_state_dict(network.without_stem().state_dict())
            model.classifier.fc.bias += 1
    model.refresh_median()
    write_checkpoint(folder / "last.pt", {
        "average": model.state_dict(), "config": config.json(), "photos": 64, "seconds": 1800.0, "seed": 1,
        "machine": "none", "command": "train --seed 1",
    })  # fmt: skip
    (folder / "classes.json").write_text(json.dumps({"n02": "two", "n01": "one"}))
    bundle = exporting.export(arguments(
        "--run", folder, "--weights", weights, "--data", photos, "--classes", folder / "classes.json",
        "--out", folder / "bundle", *more,
    ))  # fmt: skip
    exporting.round_weights(*(part for part in (model.decoder, model.classifier) if part is not None))
    return bundle, model


def test_a_resnet_whose_classifier_is_fixed(resnet18, photo_folder, tmp_path):
    """Stem and classifier are the unsplit network, for photos in [-1, 1]."""
    bundle, model = export_resnet(tmp_path, resnet18, photo_folder, joint=False)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest.keys() == MANIFEST
    assert (manifest["input"]["mean"], manifest["input"]["std"]) == ([127.5] * 3, [127.5] * 3)
    assert manifest["features"] == {"channels": 128, "height": 28, "width": 28}
    assert manifest["classes"] == [{"wnid": "n01", "name": "one"}, {"wnid": "n02", "name": "two"}]
    assert manifest["stem"]["macs"] + manifest["classifier"]["macs"] == pytest.approx(1.814e9, rel=0.01)
    assert manifest["decoder"]["macs"] == model.decoder.macs(28, 28) < manifest["stem"]["macs"]
    assert manifest["provenance"]["classifier"]["training"] == {"command": "train-classifier --seed 1"}
    assert manifest["description"] == "2 classes, split of ResNet-18 behind layer2, its classifier fixed"

    network = load_network(resnet18)
    x = normalise(load_photos(photo_folder, "val")[0])
    features = run_graph(bundle / "stem.onnx", {"tensor": x.numpy()})
    logits = run_graph(bundle / "classifier.onnx", {"features": features})
    expected = network(x).numpy()
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-2 * np.abs(expected).max())  # rounded to float16
    exact = run_graph(bundle / "encoder-n1.onnx", {"tensor": x[:1].numpy()})
    rounded = run_graph(bundle / "encoder-n1-int8.onnx", {"tensor": x[:1].numpy()})
    assert 0 < np.sqrt(np.mean((rounded - exact) ** 2)) < 0.1 * exact.std()


def test_a_resnet_whose_classifier_learned_jointly(resnet18, photo_folder, tmp_path, random_weights):
    """The bundle has the classifier that learned, and no stem that would belong to another one."""
    bundle, model = export_resnet(tmp_path, resnet18, photo_folder, "--no-int8", joint=True)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest.keys() == MANIFEST - {"stem"} and not (bundle / "stem.onnx").exists()
    features = torch.randn(2, 128, 28, 28)
    logits = run_graph(bundle / "classifier.onnx", {"features": features.numpy()})
    expected = model.classifier.tail(features)[0].detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    symbols, point = torch.randint(-9, 10, (2, 6, 28, 28)).short(), torch.tensor([1, 0])
    expected = exporting.DecoderGraph(model)(symbols, point).detach().numpy()
    actual = run_graph(bundle / "decoder.onnx", {"symbols": symbols.numpy(), "point": point.numpy()})
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())

    before = (bundle / "manifest.json").read_bytes()
    again = ["--run", tmp_path, "--data", photo_folder, "--classes", tmp_path / "classes.json", "--out", bundle]
    with pytest.raises(ValueError, match=r"MB \(classifier\.onnx 21\.. MB, .*\) are more than --max-mb 20"):
        exporting.export(arguments(*again, "--weights", resnet18, "--no-int8", "--max-mb", 20))
    with pytest.raises(ValueError, match=r"splits a resnet18 with 2 classes; .* is a mobilenet with 1000"):
        exporting.export(arguments(*again, "--weights", random_weights))
    assert (bundle / "manifest.json").read_bytes() == before and not list(tmp_path.glob(".*"))


def test_an_edge_half_that_learned_on_extends_its_bundle(options, bundle, manifest, tmp_path):
    """Its codec first, the old one behind with its own tables; the same latent space and the same decoder."""
    model, saved = load_average(options[1] / "last.pt")
    config = replace(model.config, cloud_fixed=True)
    with torch.no_grad():
        model.encoder.project["1"].weight *= 1.1
        model.log_gain += 0.2
    run = tmp_path / "run"
    run.mkdir()
    write_checkpoint(run / "last.pt", saved | {"average": model.state_dict(), "config": config.json()})
    own = [*options[2:], "--run", run]
    with pytest.raises(ValueError, match="has the cloud half of a bundle that exists: --extends says which"):
        exporting.export(arguments(*own, "--out", tmp_path / "adapted"))

    plain = exporting.export(arguments(*options, "--out", tmp_path / "plain", "--no-int8"))
    before = json.loads((plain / "manifest.json").read_text())
    with pytest.raises(ValueError, match=r"has no int8 encoders: .* leave out --int8 and --no-int8"):
        exporting.export(arguments(*own, "--out", tmp_path / "adapted", "--extends", plain, "--int8"))
    with pytest.raises(ValueError, match="has int8 encoders"):
        exporting.export(arguments(*own, "--out", tmp_path / "adapted", "--extends", bundle, "--no-int8"))
    assert not (tmp_path / "adapted").exists()

    out = exporting.export(arguments(*own, "--out", tmp_path / "adapted", "--extends", plain))
    after = json.loads((out / "manifest.json").read_text())
    assert after["latentSpaceId"] == before["latentSpaceId"]
    assert [(p["n"], p["q"]) for p in after["points"]] == [(p["n"], p["q"]) for p in before["points"]]
    old = before["codecs"][0]["id"]
    new = load_codec((out / "tables.bin").read_bytes(), after["latentSpaceId"]).id
    assert new != old
    assert after["codecs"] == [{"id": new, "tables": "tables.bin"}, {"id": old, "tables": f"tables-{old}.bin"}]
    assert (out / f"tables-{old}.bin").read_bytes() == (plain / "tables.bin").read_bytes()
    assert (out / "decoder.onnx").read_bytes() == (plain / "decoder.onnx").read_bytes()

    with torch.no_grad():
        model.decoder.project.bias += 1
    write_checkpoint(run / "last.pt", saved | {"average": model.state_dict(), "config": config.json()})
    with pytest.raises(ValueError, match="has another decoder: only a run that began --from its own can extend it"):
        exporting.export(arguments(*own, "--out", tmp_path / "other", "--extends", plain))
