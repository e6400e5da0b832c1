import argparse
import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_from_bundle import export_random

from raccoon_training import shrink as shrinking
from raccoon_training.export import EncoderGraph, open_graph, trace_graph
from raccoon_training.from_bundle import load_bundle
from raccoon_training.images import load_photos, normalise
from raccoon_training.model import SplitConfig, SplitModel
from raccoon_training.reference_coder import decode_bitstream, encode_bitstream, load_codec, quantise
from raccoon_training.shrink_costs import BlockCosts, encoder_shape, measure_costs, read_costs, write_costs
from raccoon_training.shrink_refit import refit
from raccoon_training.shrink_tuning import fine_tune
from raccoon_training.shrunk_encoder import choose_widths, prune, top_filters
from raccoon_training.taylor import hidden_layers, task_scores

COSTS = {1: 20, 2: 25, 3: 70, 4: 72}


@pytest.fixture
def model(config) -> SplitModel:
    model = SplitModel(config)
    for parameter in model.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape))
    return model.eval().requires_grad_(False)


@pytest.fixture
def scores(generator) -> list[list[torch.Tensor]]:
    return [[torch.rand(4, generator=generator) for _ in range(2)] for _ in range(2)]


def costs_of(config: SplitConfig, n: int = 2) -> BlockCosts:
    return BlockCosts(encoder_shape(config, n), "float32", 100, COSTS, 1, "a table")


def run_encoder(module, n: int, x: torch.Tensor) -> list[np.ndarray]:
    graph = trace_graph(EncoderGraph(*module, n), {"tensor": x}, ("latent", "exit_logits"), batched=False)
    return open_graph(graph.SerializeToString()).run(None, {"tensor": x.numpy()})


def test_widths_keep_to_the_budget_and_more_budget_keeps_more(config, scores):
    costs, kept = costs_of(config), []
    for budget in range(100, 260, 5):
        widths = choose_widths(scores, costs, budget)
        assert costs.of(widths) <= budget
        kept.append(
            sum(
                float(scores[b][i][f].sum())
                for b, of in enumerate(top_filters(scores, widths))
                for i, f in enumerate(of)
            )
        )
    assert kept == sorted(kept)
    assert choose_widths(scores, costs, 100) == [0, 0] and choose_widths(scores, costs, 244) == [4, 4]
    with pytest.raises(ValueError, match=r"0\.099 ms are too little: without any block the encoder takes 0\.10 ms"):
        choose_widths(scores, costs, 99)


@pytest.mark.parametrize("widths", [[2, 3], [0, 1], [4, 0], [4, 4]])
def test_a_pruned_graph_is_the_whole_one_with_those_filters_and_biases_zeroed(model, scores, pictures, widths):
    kept = top_filters(scores, widths)
    shrunk = prune(model, 2, kept)
    zeroed = copy.deepcopy(model)
    for block, of_block in zip(zeroed.encoder.blocks, kept, strict=True):
        for layer, filters in zip(hidden_layers(block), of_block, strict=True):
            gone = torch.ones(4, dtype=torch.bool).index_fill(0, filters, False)
            layer.weight[gone], layer.bias[gone] = 0, 0
        if len(of_block[0]) == 0:  # a removed block adds nothing
            block.expand.bias[:] = 0
    pruned = run_encoder((shrunk.encoder, shrunk.exit_head), 2, pictures[:1])
    expected = run_encoder((zeroed.encoder, zeroed.exits["2"]), 2, pictures[:1])
    for ours, theirs in zip(pruned, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert [block.reduce.out_channels if hasattr(block, "reduce") else 0 for block in shrunk.encoder.blocks] == widths


def test_without_blocks_it_is_patch_and_projection(model, scores, pictures):
    latent, _ = prune(model, 2, top_filters(scores, [0, 0]))(pictures)
    patch, project = model.encoder.patch, model.encoder.project["2"]
    torch.testing.assert_close(latent, project(patch(pictures)))
    assert not torch.allclose(latent, model.encoder(pictures, 0))


def error_of(shrunk, model: SplitModel, x: torch.Tensor) -> float:
    return float((shrunk(x)[0] - model.encoder(x, 2)).square().mean())


def test_what_is_left_is_fitted_to_stand_in_for_what_is_gone(model, scores, generator):
    pixels, other = torch.randint(0, 256, (2, 40, 3, 64, 64), generator=generator, dtype=torch.uint8)
    before, after = (prune(model, 2, top_filters(scores, [2, 3])) for _ in range(2))
    refit(after, model, pixels)
    assert error_of(after, model, normalise(other)) < 0.5 * error_of(before, model, normalise(other))


def test_a_filter_that_another_can_stand_in_for_costs_nothing(model, generator):
    """Filter 3 of a block's second layer is filter 2 once more: without it, the next layer only needs other weights."""
    pixels, other = torch.randint(0, 256, (2, 40, 3, 64, 64), generator=generator, dtype=torch.uint8)
    model.encoder.blocks[0].mix.weight[3] = model.encoder.blocks[0].mix.weight[2]
    model.encoder.blocks[0].mix.bias[3] = model.encoder.blocks[0].mix.bias[2]
    every, without = torch.arange(4), torch.arange(3)
    shrunk = prune(model, 2, [[every, without], [every, every]])
    before = error_of(shrunk, model, normalise(other))
    refit(shrunk, model, pixels)
    assert error_of(shrunk, model, normalise(other)) < 1e-4 * before


def test_fine_tuning_brings_the_latents_back(model, scores, generator):
    pixels = torch.randint(0, 256, (64, 3, 8, 8), generator=generator, dtype=torch.uint8)
    pixels = torch.nn.functional.interpolate(pixels.float(), size=64, mode="bilinear").byte()

    def tuned(epochs: float) -> tuple[float, dict[str, torch.Tensor]]:
        shrunk = prune(model, 2, top_filters(scores, [2, 2]))
        error = fine_tune(shrunk, model, pixels, epochs=epochs, lr=3e-3, seed=1, bf16=False)
        return error, shrunk.state_dict()

    (first, _), (last, state), (again, same) = tuned(0.5), tuned(20), tuned(20)
    assert last < 0.6 * first
    assert last == again and all(torch.equal(tensor, same[name]) for name, tensor in state.items())
    with pytest.raises(ValueError, match="16 photos are less than a batch of 32"):
        fine_tune(prune(model, 2, top_filters(scores, [2, 2])), model, pixels[:16], epochs=1, lr=1, seed=1, bf16=False)


def test_costs_are_measured_and_kept(config, tmp_path):
    for precision in ("int8", "float32"):
        costs = measure_costs(config, 2, [2, 4], precision=precision, threads=1, rounds=1)
        assert costs.fixed > 0 and costs.block.keys() == {2, 4} and min(costs.block.values()) > 0
    assert costs.of([0, 4]) == costs.fixed + costs.block[4]
    path = tmp_path / "costs.json"
    write_costs(costs, path)
    assert read_costs(path, config, 2) == costs
    with pytest.raises(ValueError, match="has the costs of another encoder"):
        read_costs(path, config, 1)
    with pytest.raises(ValueError, match="has the costs of another encoder, float32"):
        read_costs(path, config, 2, "int8")
    path.write_text('{"format": "raccoon-profile"}')
    with pytest.raises(ValueError, match="is no table of block costs"):
        read_costs(path, config, 2)


# ---- the command, on a bundle ----


@pytest.fixture(scope="module")
def base(tmp_path_factory, random_weights, photo_folder) -> Path:
    return export_random(tmp_path_factory.mktemp("bundles"), random_weights, photo_folder)


def shrink(base: Path, photos: Path, *more: object) -> list[Path]:
    config = load_bundle(base).model.config
    table = base.parent / "costs.json"
    write_costs(costs_of(config), table)
    parser = argparse.ArgumentParser()
    shrinking.add_arguments(parser)
    values = [
        "--bundle",
        base,
        "--data",
        photos,
        "--costs",
        table,
        "--epochs",
        0,
        "--refit-photos",
        0,
        "--torch-threads",
        1,
        *more,
    ]
    return shrinking.shrink(parser.parse_args([str(value) for value in values]))


@pytest.fixture(scope="module")
def shrunk(base, photo_folder) -> list[Path]:
    return shrink(base, photo_folder, "--budget-ms", "0.2,0.15", "--out", base.parent / "less")


def test_a_bundle_for_each_budget_with_the_same_cloud_half(base, shrunk):
    assert [folder.name for folder in shrunk] == ["less-150us", "less-200us"]
    before = json.loads((base / "manifest.json").read_text())
    for folder, us in zip(shrunk, (150, 200), strict=True):
        manifest = json.loads((folder / "manifest.json").read_text())
        for key in ("latentSpaceId", "codecs", "decoder", "classifier", "stem", "classes", "defaultPoint"):
            assert manifest[key] == before[key], key
        for name in (
            "tables.bin",
            "decoder.onnx",
            "classifier.onnx",
            "stem.onnx",
            "encoder-n0.onnx",
            "encoder-n1.onnx",
        ):
            assert (folder / name).read_bytes() == (base / name).read_bytes()
        assert manifest.keys() == before.keys() and set(manifest["files"]) == {
            "tables.bin", "decoder.onnx", "classifier.onnx", "stem.onnx", "encoder-n0.onnx", "encoder-n1.onnx",
            "encoder-n1-int8.onnx", f"encoder-n2-{us}us.onnx", f"encoder-n2-{us}us-int8.onnx",
        }  # fmt: skip
        assert {path.name for path in folder.iterdir()} == {"manifest.json", *manifest["files"]}
        for old, new in zip(before["points"], manifest["points"], strict=True):
            assert (old["n"], old["q"], old.get("precision")) == (new["n"], new["q"], new.get("precision"))
            assert (old == new) == (old["n"] < 2)
            if old["n"] == 2:
                assert new["edgeMacs"] < old["edgeMacs"]
        record = manifest["provenance"]["shrunk"]
        assert record["budgetMs"] == us / 1000 >= record["predictedMs"] and record["measuredHereMs"]["shrunk"] > 0
        assert record["of"] == "small 0.1.0" and len(record["widths"]) == 2


def test_the_codec_of_the_base_reads_what_a_shrunk_encoder_writes(base, shrunk, photo_folder):
    photos = normalise(load_photos(photo_folder, "val")[0])
    for folder in shrunk:
        manifest = json.loads((folder / "manifest.json").read_text())
        codec = load_codec((base / "tables.bin").read_bytes(), manifest["latentSpaceId"])
        assert codec.id == manifest["codecs"][0]["id"]
        for p in (5, 9):  # n=2 q=1 in float32, and in int8
            point = manifest["points"][p]
            session = open_graph((folder / point["encoder"]).read_bytes())
            latents = [session.run(["latent"], {"tensor": photo[None].numpy()})[0][0] for photo in photos]
            assert latents[0].shape == (6, 28, 28)
            symbols = [quantise(latent, p, codec.tables) for latent in latents]
            slices = encode_bitstream(symbols[0], p, codec)
            point_read, symbols_read = decode_bitstream(slices, {codec.id: codec})
            assert point_read == p
            np.testing.assert_array_equal(symbols_read, symbols[0])
            bits = 8 * np.mean([sum(map(len, encode_bitstream(of, p, codec))) for of in symbols])
            assert point["expectedBpp"] * 224 * 224 == pytest.approx(bits, rel=0.05, abs=300)


def test_all_of_the_budget_leaves_the_encoder_as_it_is(base, photo_folder):
    [folder] = shrink(base, photo_folder, "--budget-ms", 1, "--out", base.parent / "whole")
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["provenance"]["shrunk"]["widths"] == [4, 4]
    tensor = {"tensor": np.linspace(-1, 1, 3 * 224 * 224, dtype=np.float32).reshape(1, 3, 224, 224)}
    ours, theirs = (
        open_graph(path.read_bytes()).run(None, tensor)
        for path in (folder / "encoder-n2-1000us.onnx", base / "encoder-n2.onnx")
    )
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(our, their)


def test_scores_are_of_the_stop_that_is_shrunk(base, photo_folder):
    model = load_bundle(base).model
    pixels, _ = load_photos(photo_folder, "train")
    scores = task_scores(model, shrinking.load_bundle_network(base), 1, pixels, bf16=False)
    assert [[len(layer) for layer in of_block] for of_block in scores] == [[4, 4]]
    assert min(float(layer.min()) for of_block in scores for layer in of_block) > 0


def test_bad_input(base, shrunk, photo_folder, tmp_path):
    with pytest.raises(ValueError, match=r"0\.05 ms are too little"):
        shrink(base, photo_folder, "--budget-ms", 0.05, "--out", tmp_path / "x")
    with pytest.raises(ValueError, match=r"--stop 3: .* can be shrunk at 1, 2"):
        shrink(base, photo_folder, "--budget-ms", 1, "--out", tmp_path / "x", "--stop", 3)
    with pytest.raises(ValueError, match=r"encoders differ in .*; give the bundle that they were made of"):
        shrink_again(shrunk[0], photo_folder, tmp_path)
    with pytest.raises(ValueError, match="is no name for a bundle"):
        shrink(base, photo_folder, "--budget-ms", 1, "--out", tmp_path / "No Name")
    for budgets in ("1,0", "fast"):
        with pytest.raises(ValueError, match="milliseconds above 0, separated by commas"):
            shrink(base, photo_folder, "--budget-ms", budgets, "--out", tmp_path / "x")


def shrink_again(folder: Path, photos: Path, out: Path) -> None:
    parser = argparse.ArgumentParser()
    shrinking.add_arguments(parser)
    values = ["--bundle", folder, "--data", photos, "--budget-ms", 1, "--out", out / "x"]
    shrinking.shrink(parser.parse_args([str(value) for value in values]))
