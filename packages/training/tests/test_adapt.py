"""An edge's half learns on from a bundle: what it begins with, and what is said of its gain."""

import argparse
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from test_from_bundle import export_random

from raccoon_training import export as exporting
from raccoon_training import train as training
from raccoon_training.adapt import gains, judging_photos, load_unsplit, teaching_photos
from raccoon_training.evaluate import PointScore
from raccoon_training.from_bundle import load_bundle


def score(n: int, bpp: float, agreement: float) -> PointScore:
    return PointScore(n, 0, bpp, 0.0, agreement, 0.0, 0)


def test_the_gain_is_taken_at_equal_rates():
    before = [score(0, 0.1, 40), score(0, 0.4, 60), score(2, 0.1, 50), score(2, 0.2, 60)]
    after = [score(0, 0.2, 60), score(0, 0.8, 80), score(2, 0.3, 70), score(2, 0.6, 80)]
    zero, two = gains(before, after)
    # n=0: 50 and 60 before at 0.2 and 0.4, 60 and 70 now
    assert (zero.n, zero.low, zero.high) == (0, 0.2, 0.4) and zero.agreement == pytest.approx(10)
    assert two.n == 2 and math.isnan(two.agreement)  # no rate that both have


@pytest.fixture(scope="module")
def album(tmp_path_factory, photo_folder) -> Path:
    """One folder of 21 photos, without splits and labels."""
    folder = tmp_path_factory.mktemp("album")
    photos = sorted(photo_folder.glob("train/*/*")) * 21
    for i, photo in enumerate(photos[:21]):
        shutil.copyfile(photo, folder / f"{i:02}{photo.suffix}")
    return folder


def test_every_tenth_of_the_photos_judges(album, photo_folder):
    teaching, judging = teaching_photos(album), judging_photos(album, 500)
    assert [photo.file.stem for photo in judging] == ["00", "10", "20"] and len(teaching) == 18
    assert not {photo.file for photo in teaching} & {photo.file for photo in judging}
    assert [photo.file.stem for photo in judging_photos(album, 2)] == ["00", "10"]
    # with splits those are what they are for
    assert all(photo.file.parent.parent.name == "train" for photo in teaching_photos(photo_folder))
    assert all(photo.file.parent.parent.name == "val" for photo in judging_photos(photo_folder, 500))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, random_weights, photo_folder) -> Path:
    return export_random(tmp_path_factory.mktemp("bundles"), random_weights, photo_folder)


def parse(module, *values: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args([str(value) for value in values])


def test_a_bundle_and_a_folder_of_photos_are_enough(bundle, album, tmp_path, capsys):
    own = ("--data", album, "--from", bundle, "--label-free", "--batch", 2, "--head-start", 0, "--epochs", 0.5)
    own += ("--threads", 1, "--no-bf16", "--device", "cpu", "--run", tmp_path / "run")
    checkpoint = training.train(parse(training, *own))
    saved = torch.load(checkpoint, weights_only=True)
    before, _, manifest = load_bundle(bundle)
    for name, value in before.state_dict().items():
        cloud = name.startswith("decoder.") or name in ("log_inverse_gain", "step_median")
        assert torch.equal(saved["average"][name], value) == cloud, name
    out = capsys.readouterr().out
    assert "on 3 photos that taught nothing" in out and "n=2: " in out
    assert len((tmp_path / "run" / "gain.csv").read_text().splitlines()) == 1 + len(before.config.points())

    export = ("--run", tmp_path / "run", "--extends", bundle, "--data", album, "--out", tmp_path / "mine")
    with pytest.raises(ValueError, match="--weights is missing: the network to split"):
        exporting.export(parse(exporting, *export[:2], *export[4:]))
    adapted = json.loads((exporting.export(parse(exporting, *export)) / "manifest.json").read_text())
    assert adapted["latentSpaceId"] == manifest["latentSpaceId"] and adapted["classes"] == manifest["classes"]
    assert adapted["provenance"]["classifier"] == manifest["provenance"]["classifier"]
    assert adapted["codecs"][1]["id"] == manifest["codecs"][0]["id"]
    classifiers = [folder / "classifier.onnx" for folder in (tmp_path / "mine", bundle)]
    assert classifiers[0].read_bytes() == classifiers[1].read_bytes()


def test_what_is_missing_is_named(bundle, album, tmp_path):
    own = ("--data", album, "--run", tmp_path / "run", "--no-bf16", "--device", "cpu")
    with pytest.raises(ValueError, match=r"--weights is missing: the network to split\. Only a bundle"):
        training.train(parse(training, *own))
    with pytest.raises(ValueError, match="--label-free or --classes"):
        training.train(parse(training, *own, "--from", bundle, "--label-free", "--classes", album / "none.json"))
    with pytest.raises(ValueError, match="Only a bundle brings its own"):
        load_unsplit(None, album)
