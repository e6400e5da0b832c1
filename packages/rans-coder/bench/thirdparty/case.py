"""What the Python peers share: the case, the clock and the report."""

import base64
import json
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter_ns
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """Photos of `channels * plane` symbols, channel-major, with a table per channel. The last entry of a table is its escape."""

    channels: int
    plane: int
    offsets: list[int]  # [channels]: the symbol of entry 0
    frequencies: list[list[int]]  # [channels][entries], each sums to 65536
    photos: list[list[int]]  # [photos][channels * plane]


def read_case(path: str) -> Case:
    with open(path, encoding="utf-8") as file:
        case = json.load(file)
    symbols = array("h", base64.b64decode(case["symbols"]))
    if sys.byteorder == "big":
        symbols.byteswap()
    size = case["channels"] * case["plane"]
    photos = [symbols[start : start + size].tolist() for start in range(0, len(symbols), size)]
    return Case(case["channels"], case["plane"], case["offsets"], case["frequencies"], photos)


def measure(work: Callable[[], T], runs: int, warm_up_runs: int) -> tuple[float, T]:
    """The median of `runs` in ms, and what `work` returned last."""
    result = work()
    for _ in range(warm_up_runs - 1):
        result = work()
    times = []
    for _ in range(runs):
        start = perf_counter_ns()
        result = work()
        times.append(perf_counter_ns() - start)
    return median(times) / 1e6, result


def report(encode_ms: float, decode_ms: float, size: int, note: str) -> None:
    """One line of JSON on stdout, as run.mjs expects it."""
    print(json.dumps({"encodeMsMedian": encode_ms, "decodeMsMedian": decode_ms, "bytes": size, "note": note}))
