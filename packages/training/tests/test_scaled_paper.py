import argparse
import copy
import json

import pytest
import torch
from conftest import count_macs
from test_train_paper import rows

from raccoon_training import evaluate_paper, import_bundle, train_paper
from raccoon_training import run as running
from raccoon_training.checkpoint import read_checkpoint
from raccoon_training.costs import costs_of
from raccoon_training.entropic_student import GDN, TWO_STAGES_FIXED
from raccoon_training.evaluate_paper import load_paper
from raccoon_training.mobilenet import MobileNetV2
from raccoon_training.model import SplitConfig, SplitModel
from raccoon_training.noise import Noise
from raccoon_training.paper import CLASSIFIER_FIXED, EntropyBottleneck, PaperTraining, ShortRecipe
from raccoon_training.paper_config import PaperConfig
from raccoon_training.scaled_paper import START, calibrate, scaled_model
from raccoon_training.train_paper import train


@pytest.fixture
def options(photo_folder, random_weights, tmp_path):
    """Twelve steps of two photos of 64 px, label-free, with the classifier fixed."""

    def of(run: str, *more: object) -> list[str]:
        rate = [] if "--lambda" in more else ["--rate-target", 0.5]
        return [str(value) for value in (
            "--data", photo_folder, "--weights", random_weights, "--run", tmp_path / run, "--size", 64, "--batch", 2,
            "--epochs", 4, "--reuse", 2, "--short", "--clip", 1, "--label-free", "--classifier-fixed", "--threads", 1,
            "--device", "cpu", "--no-bf16", *rate, *more,
        )]  # fmt: skip

    return of


def parsed(options: list[str], module=train_paper) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    return parser.parse_args(options)


def test_what_the_networks_cost():
    """Multiply-accumulates at 224 px, counted by hand: of patches, blocks and projection; of GDN as well."""
    with torch.device("meta"):
        network = MobileNetV2().without_stem()
        for blocks in (0, 4, 8):
            encoder = scaled_model(blocks, network).encoder
            expected = 784 * (192 * 48 + blocks * 2 * 9 * 48 * 24 + 48 * 48)
            assert count_macs(encoder, 3, 224, 224) == expected
        student = scaled_model(None, network)
        by_hand = 112**2 * 32 * 75 + 56**2 * 16 * 32 * 25 + 55**2 * 8 * 16 * 4 + 112**2 * 32**2 + 56**2 * 16**2
        gdn = 112**2 * 32**2 + 56**2 * 16**2  # not layers of their own
        assert count_macs(student.encoder, 3, 224, 224) == by_hand - gdn
        universal = SplitModel(SplitConfig())
        of_decoder = count_macs(scaled_model(4, network).decoder, 48, 28, 28)
        assert of_decoder == universal.decoder.macs(28, 28)
        assert count_macs(student.decoder, 8, 55, 55) == pytest.approx(of_decoder, rel=0.1)


@pytest.mark.parametrize("blocks", [0, 2, None])
def test_the_start(blocks, pictures):
    """Latents of the wanted deviation, features of the network's own mean and deviation; the tail takes them."""
    torch.manual_seed(4)
    network = MobileNetV2()
    features = network.stem(pictures).detach()
    model = scaled_model(blocks, network.without_stem())
    calibrate(model, pictures, features, 0.5)
    latent = model.encoder(pictures)
    torch.testing.assert_close(
        latent.std((0, 2, 3)), torch.full((model.encoder.latent_channels,), 0.5), rtol=0.01, atol=0
    )
    passed = model.eval()(pictures)
    assert passed.prediction.features[0].shape == features.shape and passed.prediction.logits.shape == (16, 1000)
    assert [f.shape for f in passed.prediction.features[1:]] == [f.shape for f in network.tail(features)[1]]


def test_the_short_recipe(pictures):
    """A head start, then every stage has its own warm-up and way to zero, and parts learn at speeds of their own."""
    network = MobileNetV2().eval().requires_grad_(False)
    recipe = ShortRecipe(epochs=4, batch=16)
    model = scaled_model(None, network.without_stem())
    training = PaperTraining(model, network, 0.3, TWO_STAGES_FIXED, recipe)
    rates, tails = [], []
    for step in range(40):
        begins = training.start_epoch(step / 10)
        assert begins == (step in (10, 20)) and model.front == (step < 10)
        rates.append([group["lr"] for group in training.optimisers[0].param_groups])
        tails.append(training.tail)
    first = [rate for rate, *_ in rates]
    assert first[0] == pytest.approx(0.02 * recipe.lr) and first[5:10] == [recipe.lr] * 5
    assert first[10] == recipe.lr / 4 and first[19] < 0.2 * first[10]
    assert first[30:] == pytest.approx([rate / 4 for rate in first[10:20]])  # the same in the next stage, slower
    assert tails[:11] == [0] * 11 and tails[13] == pytest.approx(0.5) and tails[16:] == [1] * 24
    assert [rate / rates[5][0] for rate in rates[5]] == pytest.approx([1, 3, 0.1])
    given = [id(p) for group in training.optimisers[0].param_groups for p in group["params"]]
    assert len(given) == len(set(given)) == len(list(model.parameters())) - 1  # the quantiles are apart


def test_a_head_start_learns_from_the_split_alone(pictures):
    network = MobileNetV2().eval().requires_grad_(False)
    model = scaled_model(0, network.without_stem().requires_grad_(True))
    training = PaperTraining(model, network, 0.3, CLASSIFIER_FIXED, ShortRecipe(epochs=2, batch=16, head_start=0.5))
    before = network.state_dict(), [p.clone() for p in model.decoder.parameters()]
    terms, _, logits = training.step(pictures, None, Noise(1, 0, range(16)))
    assert logits is None and (terms.split > 0).all() and not terms.taps.any() and not terms.kl.any()
    assert any((p != q).any() for p, q in zip(before[1], model.decoder.parameters(), strict=True))
    training.start_epoch(1.5)
    terms, _, logits = training.step(pictures, None, Noise(1, 1, range(16)))
    assert logits.shape == (16, 1000) and terms.taps.any() and terms.kl.any()
    with pytest.raises(ValueError, match="without --weights it is 0"):
        PaperTraining(model, None, 0.3, CLASSIFIER_FIXED, ShortRecipe())
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="a share of the epochs, from 0 and below 1"):
            PaperTraining(model, network, 0.3, CLASSIFIER_FIXED, ShortRecipe(head_start=share))
    options = argparse.Namespace(lr=None, head_start=None, short=True, epochs=1, batch=2, weights=None)
    assert train_paper.recipe_of(options).head_start == 0


def test_the_students_start(pictures):
    """Every GDN halves or doubles what has its input's deviation, and a negative is no negative latent."""
    network = MobileNetV2().eval().requires_grad_(False)
    model = scaled_model(None, network.without_stem())
    with torch.no_grad():
        calibrate(model, pictures, network.stem(pictures), 0.7)
        x = pictures + 1
        for layer in (*model.encoder, *model.decoder.decoder):
            if isinstance(layer, GDN):
                assert torch.diag(layer.gamma[:, :, 0, 0]) * x.std((0, 2, 3)) == pytest.approx(1, abs=1e-3)
            x = layer(x)
        assert x.std() == pytest.approx(START, rel=1e-4)
        latent = model.encoder(pictures)
        assert latent.std((0, 2, 3)) == pytest.approx(0.7, rel=1e-3)
        assert (model.encoder(-pictures) + latent).abs().mean() > 0.1


def test_lambda_is_steered_while_the_encoder_learns():
    model = scaled_model(0, MobileNetV2().without_stem())
    training = PaperTraining(model, None, 0.5, TWO_STAGES_FIXED, ShortRecipe(epochs=2, head_start=0))
    before = training.rate_weight
    training.steer(0.6, 0.5)
    assert before < training.rate_weight < 1.01 * before
    training.steer(0.2, 0.5)
    assert training.rate_weight < before
    training.start_epoch(1)  # the encoder is frozen
    kept = training.rate_weight
    training.steer(9.0, 0.5)
    assert training.rate_weight == kept


def test_the_rate_of_some_positions(generator):
    """Unbiased: the mean over steps of one position in four is that of all."""
    torch.manual_seed(1)
    whole, some = EntropyBottleneck(3, (3, 3), 4.0), EntropyBottleneck(3, (3, 3), 4.0, positions=4)
    some.load_state_dict(whole.state_dict())
    latent = torch.randn(2, 3, 8, 8, generator=generator)
    every = [[model(latent, Noise(1, step, range(2)))[1].detach() for step in range(200)] for model in (whole, some)]
    expected, estimated = (torch.stack(bits).mean(0) for bits in every)
    torch.testing.assert_close(estimated, expected, rtol=0.02, atol=0)
    whole.settle()
    torch.testing.assert_close(whole.median, whole.density.median())


@pytest.mark.parametrize("model", ["light-n0", "entropic-student"])
def test_from_photos_to_a_bundle(model, options, photo_folder, random_weights, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "LOG_STEPS", 1)
        checkpoint = train(parsed(options("run", "--model", model)))
    log = rows(tmp_path / "run/log.csv")
    assert len(log) == 12 and all(entry["size"] == 64 and entry["bpp"] > 0 for entry in log)
    assert all(0 <= entry["agreement"] <= 100 and "top1" not in entry for entry in log)
    if model == "entropic-student":  # features alone, then predictions alone
        assert all(entry["split"] > 0 for entry in log)
    paper, config, saved = load_paper(checkpoint)
    assert config == PaperConfig(
        model, 0, 1000, config.rate_weight, True, True, network="mobilenet", size=64, rate_target=0.5
    )
    assert saved["rate_weight"] != config.rate_weight
    torch.testing.assert_close(paper.bottleneck.median, paper.bottleneck.density.median())

    classes = tmp_path / "classes.json"
    wnids = ["n01", "n02", "n03", *(f"x{i}" for i in range(997))]
    classes.write_text(json.dumps([{"wnid": wnid, "name": wnid} for wnid in wnids]))
    bundle = import_bundle.run(parsed([str(value) for value in (
        "--checkpoint", checkpoint, "--stem", random_weights, "--data", photo_folder, "--classes", classes,
        "--licence", "MIT", "--out", tmp_path / "bundle",
    )], import_bundle))  # fmt: skip
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["input"] == {
        "width": 64, "height": 64, "shortSide": 73, "filter": "bilinear-antialias",
        "mean": [127.5] * 3, "std": [127.5] * 3,
    }  # fmt: skip
    assert manifest["features"] == {"channels": 32, "height": 8, "width": 8} and "stem" in manifest
    assert manifest["description"] == "1000 classes, MobileNetV2 behind features.6"
    assert manifest["points"][0]["n"] == 0
    score = evaluate_paper.run(parsed([str(value) for value in (
        "--run", tmp_path / "run", "--data", photo_folder, "--classes", classes, "--weights", random_weights,
        "--threads", 1,
    )], evaluate_paper))  # fmt: skip
    assert manifest["points"][0]["expectedBpp"] == pytest.approx(score.bpp, rel=0.02)


def test_it_goes_on_as_if_nothing_had_been(options, tmp_path, monkeypatch):
    """In the second of Entropic Student's stages, with lambda where it was."""
    monkeypatch.setattr(running, "SAVE_SECONDS", -1)
    whole = torch.load(train(parsed(options("whole", "--model", "entropic-student", "--reuse", 1))), weights_only=True)
    step, calls = PaperTraining.step, 0

    def interrupted(*args):
        nonlocal calls
        calls += 1
        if calls > 8:
            raise KeyboardInterrupt
        return step(*args)

    again = parsed(options("again", "--model", "entropic-student", "--reuse", 1))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PaperTraining, "step", interrupted)
        train(again)
    assert torch.load(tmp_path / "again/last.pt", weights_only=True)["step"] == 8
    resumed = torch.load(train(again), weights_only=True)
    assert resumed["rate_weight"] == whole["rate_weight"]
    for name, value in whole["model"].items():
        assert torch.equal(resumed["model"][name], value), name


def test_a_warm_start(options, tmp_path):
    """Weights and lambda of the neighbour; a neighbour of another kind is refused."""
    first = train(parsed(options("first", "--model", "light-n0")))
    state = read_checkpoint(first, PaperConfig)
    second = parsed(options("second", "--model", "light-n0", "--from", tmp_path / "first"))
    second.rate_target = 0.2
    begun: list[PaperTraining] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PaperTraining, "step", lambda self, *_: begun.append(copy.deepcopy(self)) or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(second)
    assert begun[0].rate_weight == state["rate_weight"]
    weights = begun[0].model.state_dict()
    assert torch.equal(weights["encoder.nested.patch.weight"], state["model"]["encoder.nested.patch.weight"])
    other = parsed(options("other", "--model", "light-n2", "--from", tmp_path / "first"))
    with pytest.raises(ValueError, match="model light-n0, not light-n2"):
        train(other)


def test_what_cannot_be_trained(options, tmp_path):
    def fails(match: str, *more: object, **changed: object) -> None:
        args = parsed(options("no", *more))
        vars(args).update(changed)
        with pytest.raises(ValueError, match=match):
            train(args)
        assert not (tmp_path / "no").exists()

    fails("no model paper-n4 beside MobileNetV2", "--model", "paper-n4")
    fails("no model light-nn; there are paper-n0", "--model", "light-nn")
    fails("either --lambda or --rate-target", "--model", "light-n0", "--lambda", 1, "--rate-target", 1)
    fails("either --lambda or --rate-target", "--model", "light-n0", rate_target=None)
    fails("rate target -1.0: bits per pixel, above 0", "--model", "light-n0", "--rate-target", -1)
    fails("--reuse 1, or more", "--model", "light-n0", reuse=0)
    fails("--size 100: a multiple of 32", "--model", "light-n0", "--size", 100)
    fails("--width 9: an even number", "--model", "light-n0", "--width", 9)
    fails(
        "--width 8: an even number of channels, of the models with blocks", "--model", "entropic-student", "--width", 8
    )


def test_costs(options, random_weights):
    """A step of a fixed classifier: three passes through what learns, two through the tail but for the head start's
    quarter, the teacher shared."""
    [network, tail_macs] = [MobileNetV2(), 0]
    image = (3, 64, 64)
    whole = count_macs(copy.deepcopy(network), *image)
    cost = costs_of("train-paper", options("x", "--model", "light-n4"))
    edge = 64 * (192 * 48 + 4 * 2 * 9 * 48 * 24 + 48 * 48)
    assert cost["edgeMacs"] == [edge]
    decoder = SplitModel(SplitConfig()).decoder.macs(8, 8)
    tail_macs = cost["cloudMacs"] - decoder
    assert 0 < tail_macs < whole
    assert cost["trainMacsPerImage"] == 3 * (edge + decoder) + 1.5 * tail_macs + whole // 2

    universal = costs_of("train", [
        "--data", "x", "--run", "x", "--weights", str(random_weights), "--size", "64", "--stops", "0", "2",
        "--rate-targets", "0.5", "--deep", "0.5", "--head-start", "1", "--epochs", "3", "--reuse", "2",
    ])  # fmt: skip
    shallow, deep = universal["edgeMacs"]
    assert universal["cloudMacs"] == cost["cloudMacs"] and shallow < deep
    stem = whole - tail_macs
    expected = 3 * ((shallow + deep) / 2 + decoder) + 0.75 * (2 * tail_macs + tail_macs / 2) + stem / 2
    assert universal["trainMacsPerImage"] == pytest.approx(expected, abs=1)


def test_fixed_stages():
    config = PaperConfig("entropic-student", 0, 1000, 1.0, True, True, network="mobilenet")
    assert config.stages == TWO_STAGES_FIXED and all("classifier" in stage.frozen for stage in config.stages)
    assert PaperConfig("light-n3", 0, 1000, 1.0, True, True, network="mobilenet").stages == CLASSIFIER_FIXED
    assert (
        PaperConfig.parse(
            {
                "model": "paper-n0",
                "depth": 18,
                "classes": 2,
                "rate_weight": 1.0,
                "classifier_fixed": False,
                "distilled": True,
            }
        ).network
        == "resnet"
    )  # written before there were others
