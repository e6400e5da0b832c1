import argparse
import csv
import json

import pytest
import torch

from raccoon_training import evaluate as evaluation
from raccoon_training.checkpoint import write_checkpoint
from raccoon_training.evaluate import evaluate
from raccoon_training.images import load_photos, normalise
from raccoon_training.mobilenet import load_mobilenet
from raccoon_training.model import SplitConfig, SplitModel


@pytest.fixture(scope="module")
def run(tmp_path_factory, random_weights, photo_folder):
    path = tmp_path_factory.mktemp("run")
    torch.manual_seed(4)
    config = SplitConfig(stops=(0, 1), rate_targets=(0.2, 0.8))
    model = SplitModel(config)
    photos = normalise(load_photos(photo_folder, "train")[0])
    model.calibrate(photos, load_mobilenet(random_weights).stem(photos))
    model.refresh_median()
    write_checkpoint(path / "last.pt", {"average": model.state_dict(), "config": config.json(), "step": 5})
    classes = [{"wnid": f"n{i:02}", "name": f"class {i}"} for i in range(1000)]
    (path / "classes.json").write_text(json.dumps(classes))
    return path


def arguments(run, weights, data, *more: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    evaluation.add_arguments(parser)
    return parser.parse_args([str(value) for value in (
        "--run", run, "--weights", weights, "--data", data, "--classes", run / "classes.json", "--threads", 1, *more,
    )])  # fmt: skip


def test_scores_of_a_checkpoint(run, random_weights, photo_folder, capsys):
    scores = evaluation.run(arguments(run, random_weights, photo_folder, "--no-bf16"))
    assert [(s.n, s.q) for s in scores] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all(0 <= value <= 100 for s in scores for value in (s.top1, s.agreement, s.exit_top1))
    assert 0 < scores[0].bpp < scores[1].bpp and scores[2].bpp < scores[3].bpp
    assert "step 5, 3 photos" in capsys.readouterr().out
    with (run / "eval.csv").open(newline="") as file:
        assert [float(row["bpp"]) for row in csv.DictReader(file)] == pytest.approx([s.bpp for s in scores])


def test_some_points_and_channels(run, random_weights, photo_folder):
    chosen = ("--no-bf16", "--blocks", 1, "--rates", 1)
    (whole,) = evaluation.run(arguments(run, random_weights, photo_folder, *chosen))
    (half,) = evaluation.run(arguments(run, random_weights, photo_folder, *chosen, "--channels", 0.5, "--photos", 3))
    assert (whole.n, whole.q) == (half.n, half.q) == (1, 1)
    assert 0 < half.bpp < whole.bpp and 0 < half.active <= 24 < whole.active <= 48


def test_a_perfect_split_network_agrees(random_weights, pictures, generator):
    """A model whose decoder returns the unsplit network's own features."""
    model, network = SplitModel(SplitConfig(stops=(0,), rate_targets=(0.5,))), load_mobilenet(random_weights)
    pixels = torch.randint(256, (4, 3, 224, 224), generator=generator, dtype=torch.uint8)
    model.decoder.forward = lambda latent, point: network.stem(normalise(pixels))
    labels = network(normalise(pixels)).argmax(1)
    labels[0] += 1
    unsplit, (score,) = evaluate(model, network, pixels, labels, bf16=False)
    assert unsplit == score.top1 == 75 and score.agreement == 100
