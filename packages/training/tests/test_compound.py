import argparse
import json
import math
from pathlib import Path

import pytest

from raccoon_training import compound
from raccoon_training.compound import DIMENSIONS, Sample, coefficients, fit_curve, scales, settings_of
from raccoon_training.model import SplitConfig

BASE = Sample(100e6, 66.0)


def parabola(a: float, b: float) -> list[Sample]:
    """Samples of accuracy = A0 + a x^2 + b x, x the relative distance to the base."""
    return [Sample(share * BASE.macs, BASE.top1 + a * (share - 1) ** 2 + b * (share - 1)) for share in (0.3, 0.5, 0.8)]


def test_a_parabola_is_found_again():
    lost = fit_curve(BASE, parabola(-10, 4))
    assert lost(BASE.macs) == 0
    assert lost(40e6) == pytest.approx(10 * 0.36 + 4 * 0.6)


def test_coefficients_are_the_thesis_s():
    """Worked by hand at half the base: losses 1, 2 and 4; their cube root is 2."""
    samples = {"depth": parabola(0, 2), "width": parabola(0, 4), "resolution": parabola(0, 8)}
    of = coefficients(BASE, samples, 50e6)
    assert of == pytest.approx([2, 1, 0.5]) and math.prod(of) == pytest.approx(1)
    d, w, r = scales(of, 0.5)
    assert d * w**2 * r**2 == pytest.approx(0.5)
    assert math.log(d) == pytest.approx(math.log(0.5) * 2 / 3.5)
    # a dimension that loses nothing does not take everything
    samples["width"] = [Sample(sample.macs, BASE.top1 + 1) for sample in samples["width"]]
    assert max(coefficients(BASE, samples, 50e6)) < 15


def test_settings_count_what_an_encoder_takes():
    settings = settings_of(SplitConfig())
    assert {setting.macs for setting in settings if setting[:4] == (8, 64, 40, 224)} == {
        138_276_352
    }  # the shipped one's
    assert max(setting.macs for setting in settings) == 138_276_352


@pytest.fixture
def command(tmp_path: Path):
    bundle, samples = tmp_path / "bundle", tmp_path / "samples.json"
    bundle.mkdir()
    training = {"config": SplitConfig().json()}
    (bundle / "manifest.json").write_text(json.dumps({"provenance": {"training": training}}))

    def run(curves: dict[str, list[Sample]], *more: object) -> list[compound.Setting]:
        samples.write_text(json.dumps({
            "base": BASE._asdict(), **{name: [sample._asdict() for sample in of] for name, of in curves.items()},
        }))  # fmt: skip
        parser = argparse.ArgumentParser()
        compound.add_arguments(parser)
        return compound.run(parser.parse_args([*map(str, ("--bundle", bundle, "--samples", samples, *more))]))

    return run


def curves(depth: float, width: float, resolution: float) -> dict[str, list[Sample]]:
    return dict(zip(DIMENSIONS, map(parabola, (0, 0, 0), (depth, width, resolution)), strict=True))


def test_what_loses_little_is_shrunk_most(command, capsys):
    budgets = (30e6, 60e6, 90e6)
    for losses, name in (((1, 9, 9), "blocks"), ((9, 1, 9), "width"), ((9, 9, 1), "size")):
        for budget, setting in zip(budgets, command(curves(*losses), "--macs", *budgets), strict=True):
            assert 0.8 * budget < setting.macs <= budget
            shares = {
                "blocks": setting.blocks / 8,
                "width": (setting.width / 64) ** 2,
                "size": (setting.size / 224) ** 2,
            }
            assert min(shares, key=shares.get) == name, (setting, losses)
    assert "train --stops" in capsys.readouterr().out
    command(curves(1, 1, 1), "--macs", 60e6, "--json")
    [printed] = json.loads(capsys.readouterr().out)
    assert printed.keys() == {"stops", "encoder_width", "encoder_hidden", "size", "macs"}


def test_a_budget_in_time_is_kept_to(command, monkeypatch):
    """On a machine that takes a millisecond for 30 M multiply-accumulates, and one besides."""
    monkeypatch.setattr(compound, "encoder_graph", lambda *_: b"")
    monkeypatch.setattr(
        compound, "time_graphs", lambda graphs, _threads: {of: 1000 * (1 + of.macs / 30e6) for of in graphs}
    )
    for ms in (1.5, 3.0):
        [setting] = command(curves(1, 1, 1), "--budget-ms", ms)
        assert 0.8 * 30e6 * (ms - 1) < setting.macs <= 30e6 * (ms - 1)
    with pytest.raises(ValueError, match=r"1 ms are too little: the least encoder takes 1\.\d+ ms here"):
        command(curves(1, 1, 1), "--budget-ms", 1)


def test_bad_input(command):
    with pytest.raises(ValueError, match=r"0\.1 M multiply-accumulates are too little"):
        command(curves(1, 1, 1), "--macs", 1e5)
    with pytest.raises(ValueError, match="needs 2 samples of width"):
        command(curves(1, 1, 1) | {"width": parabola(0, 1)[:1]}, "--macs", 60e6)
    with pytest.raises(ValueError, match="has no samples"):
        command({"depth": []}, "--macs", 60e6)
