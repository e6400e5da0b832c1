import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from raccoon_training import export as exporting
from raccoon_training.checkpoint import load_average, write_checkpoint
from raccoon_training.export import open_graph
from raccoon_training.from_bundle import fit_density, load_bundle, load_bundle_network
from raccoon_training.images import load_photos, normalise
from raccoon_training.model import SplitConfig, SplitModel
from raccoon_training.networks import load_network


def export_random(root: Path, weights: Path, photos: Path) -> Path:
    """A bundle `root/small` of a model that has learned nothing, no two of its weights alike; its run is `root/run`."""
    config = SplitConfig(
        encoder_width=8, encoder_hidden=4, latent_channels=6, stops=(0, 1, 2),
        decoder_width=8, decoder_hidden=4, decoder_blocks=2, exit_hidden=4, rate_targets=(0.2, 0.8),
    )  # fmt: skip
    torch.manual_seed(5)
    model = SplitModel(config)
    with torch.no_grad():
        pixels = normalise(load_photos(photos, "train")[0])
        model.calibrate(pixels, load_network(weights).stem(pixels))
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    model.refresh_median()
    (root / "run").mkdir()
    write_checkpoint(root / "run" / "last.pt", {
        "average": model.state_dict(), "config": config.json(), "photos": 64, "seconds": 1800.0, "seed": 1,
        "machine": "none", "command": "train --seed 1",
    })  # fmt: skip
    classes = root / "classes.json"
    classes.write_text(json.dumps([{"wnid": f"n{i:02}", "name": f"class {i}"} for i in range(1000)]))
    parser = argparse.ArgumentParser()
    exporting.add_arguments(parser)
    values = {"--run": root / "run", "--weights": weights, "--data": photos, "--classes": classes}
    values["--out"] = root / "small"
    return exporting.export(parser.parse_args([str(word) for pair in values.items() for word in pair]))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, random_weights, photo_folder) -> Path:
    return export_random(tmp_path_factory.mktemp("bundles"), random_weights, photo_folder)


@pytest.fixture(scope="module")
def tensor(photo_folder) -> torch.Tensor:
    return normalise(load_photos(photo_folder, "val")[0])


def test_encoders_and_exits_compute_what_the_bundle_computes(bundle, tensor):
    model, _, manifest = load_bundle(bundle)
    for n in model.config.stops:
        session = open_graph((bundle / f"encoder-n{n}.onnx").read_bytes())
        latent, logits = session.run(None, {"tensor": tensor[:1].numpy()})
        trunk = model.encoder.trunk(tensor[:1], n)
        np.testing.assert_allclose(model.encoder.project[str(n)](trunk), latent, atol=1e-5)
        np.testing.assert_allclose(model.exits[str(n)](trunk), logits, atol=1e-5)
    assert manifest["name"] == "small"


def test_decoder_and_network_compute_what_the_bundle_computes(bundle, tensor, random_weights):
    model, tables, _ = load_bundle(bundle)
    symbols, point = torch.randint(-3, 4, (6, 6, 28, 28)), torch.arange(6)
    feeds = {"symbols": symbols.short().numpy(), "point": point.numpy()}
    features = open_graph((bundle / "decoder.onnx").read_bytes()).run(None, feeds)[0]
    np.testing.assert_allclose(model.decoder(model.dequantise(symbols, point), point), features, atol=1e-4)
    network = load_bundle_network(bundle)
    with torch.no_grad():
        expected = load_network(random_weights)(tensor)
        np.testing.assert_allclose(network(tensor), expected, atol=1e-3 * float(expected.abs().max()))
    gain, median = model.gains()
    np.testing.assert_allclose(gain, tables.gain[:6], rtol=1e-6)
    np.testing.assert_allclose(median, tables.median[:6], rtol=1e-5, atol=1e-6)


def test_every_weight_is_the_checkpoints_but_for_the_densities(bundle):
    ours, trained = (
        load_bundle(bundle).model.state_dict(),
        load_average(bundle.parent / "run" / "last.pt")[0].state_dict(),
    )
    for name, weight in trained.items():
        if not name.startswith("density."):
            torch.testing.assert_close(ours[name], weight, rtol=1e-3, atol=1e-6, msg=name)


def test_densities_that_are_fitted_cost_what_the_tables_do(bundle, tensor):
    model, tables, _ = load_bundle(bundle)
    trained, _ = load_average(bundle.parent / "run" / "last.pt")
    assert fit_density(model, tables) < 0.01
    point = torch.tensor([4, 5, 5])
    symbols = model.quantise(model.encoder(tensor, 2), point)
    bits, expected = model.symbol_bits(symbols, point).sum(1), trained.symbol_bits(symbols, point).sum(1)
    torch.testing.assert_close(bits, expected, rtol=0.02, atol=0)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_bad_input(bundle, tmp_path):
    with pytest.raises(ValueError, match=r"is no bundle: it has no manifest\.json"):
        load_bundle(tmp_path)
    manifest = json.loads((bundle / "manifest.json").read_text())

    def copy(name: str, **changes: object) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in bundle.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "manifest.json").write_text(json.dumps(manifest | changes))
        return folder

    damaged = copy("damaged")
    (damaged / "encoder-n1.onnx").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"encoder-n1\.onnx is not what the manifest lists"):
        load_bundle(damaged)
    with pytest.raises(ValueError, match="does not say its architecture"):
        load_bundle(copy("imported", provenance={}))
    other = {"training": {"config": manifest["provenance"]["training"]["config"] | {"encoder_hidden": 3}}}
    with pytest.raises(ValueError, match=r"reduce.weight is \(4, 8, 1, 1\) where \(3,"):
        load_bundle(copy("narrow", provenance=other))
    del manifest["stem"]
    with pytest.raises(ValueError, match="has no stem"):
        load_bundle_network(copy("stemless"))

    tuned = copy("tuned")
    graph = onnx.load(tuned / "encoder-n1.onnx")
    bias = next(tensor for tensor in graph.graph.initializer if "blocks.0.reduce.bias" in tensor.name)
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 1, bias.name))
    onnx.save(graph, tuned / "encoder-n1.onnx")
    digest = hashlib.sha256((tuned / "encoder-n1.onnx").read_bytes()).hexdigest()
    manifest["files"]["encoder-n1.onnx"]["sha256"] = digest
    (tuned / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"encoders differ in blocks\.0\.reduce\.bias"):
        load_bundle(tuned)
