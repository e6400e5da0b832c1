"""Writes delta.json: Delta-accuracies and BD-rates of random curves, by NumPy and SciPy. Needs `pip install numpy scipy`.

An implementation of its own: nothing of packages/rac is read here.
"""

import json
import pathlib

import numpy as np
from scipy.interpolate import PchipInterpolator, make_interp_spline

KINDS = 40


def curve(rng: np.random.Generator) -> dict[str, list[float]]:
    count = int(rng.integers(5, 10))
    bpp = np.sort(np.exp(rng.uniform(np.log(0.08), np.log(1.6), count)))
    bpp += np.arange(count) * 1e-3  # apart
    top1 = 40 + np.cumsum(rng.uniform(0.1, 6, count))
    if rng.random() < 0.3:  # one point that costs more and is no better
        k = int(rng.integers(1, count))
        top1[k] = top1[k - 1] - rng.uniform(0, 1)
    return {"bpp": bpp.round(6).tolist(), "top1": top1.round(4).tolist()}


def hull(bpp: np.ndarray, top1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = [i for i in range(len(bpp)) if i == 0 or top1[i] > top1[:i].max()]
    return bpp[keep], top1[keep]


def mean(fit, anchor, test, low: float, high: float) -> float:
    return float((fit(*test).integrate(low, high) - fit(*anchor).integrate(low, high)) / (high - low))


def delta(anchor: dict, test: dict) -> dict:
    a, t = ((np.array(c["bpp"]), np.array(c["top1"])) for c in (anchor, test))
    low, high = max(a[0].min(), t[0].min()), min(a[0].max(), t[0].max())
    places = np.log(np.linspace(low, high, 10_000))
    fits = [np.polyval(np.polyfit(np.log(bpp), top1, 4), places) for bpp, top1 in (a, t)]
    poly4 = float(np.mean(fits[1] - fits[0]))
    logs = [(np.log(bpp), top1) for bpp, top1 in (a, t)]
    hulls = [hull(*c) for c in (a, t)]
    bottom = max(h[1].min() for h in hulls)
    top = min(h[1].max() for h in hulls)
    rate = None
    if bottom < top and min(len(h[0]) for h in hulls) > 1:
        over = [(top1, np.log(bpp)) for bpp, top1 in hulls]
        rate = 100 * float(np.expm1(mean(PchipInterpolator, *over, bottom, top)))
    return {
        "meanPoly4": poly4,
        "paper": poly4 / (high - low),
        "meanLinear": mean(lambda x, y: make_interp_spline(x, y, k=1), a, t, low, high),
        "meanPchip": mean(PchipInterpolator, a, t, low, high),
        "meanLogBpp": mean(PchipInterpolator, *logs, np.log(low), np.log(high)),
        "bdRatePercent": rate,
        "bdRateDropped": any(len(h[0]) < len(c[0]) for h, c in zip(hulls, (a, t), strict=True)),
        "overlap": [float(low), float(high)],
    }


def main() -> None:
    rng = np.random.default_rng(2211_09897)
    cases = []
    while len(cases) < KINDS:
        anchor, test = curve(rng), curve(rng)
        if max(anchor["bpp"][0], test["bpp"][0]) < min(anchor["bpp"][-1], test["bpp"][-1]):
            cases.append({"anchor": anchor, "test": test, "delta": delta(anchor, test)})
    path = pathlib.Path(__file__).with_name("delta.json")
    path.write_text(json.dumps({"cases": cases}) + "\n")


if __name__ == "__main__":
    main()
