"""Writes compressai.json beside this file: streams of CompressAI's own entropy coder. Run by hand, from anywhere:

    pip install --no-deps compressai==1.2.8 && python test/vectors/generate-compressai.py

Only its extension module `ans` is loaded, so that neither PyTorch nor the rest of CompressAI need be there. Every case
keeps to what that coder survives: three symbols or more, escapes below 2^28, tables of three counts or more
(packages/rans-coder/src/compressai/index.ts says what happens beyond). It decodes each, too, before it is written.
"""

import hashlib
import importlib.util
import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

TOTAL = 1 << 16
LARGEST_DISTANCE = (1 << 27) - 1  # of a symbol from its table: the largest of seven digits


def extension() -> ModuleType:
    """`compressai.ans`, without `import compressai`."""
    package = importlib.util.find_spec("compressai")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("CompressAI is not installed: pip install --no-deps compressai==1.2.8")
    (path,) = Path(package.submodule_search_locations[0]).glob("ans.*.so")
    spec = importlib.util.spec_from_file_location("ans", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ANS = extension()


def counts(weights: list[float]) -> list[int]:
    """Cumulative counts from 0 to 65536, as good as proportional to the weights, strictly rising."""
    room = TOTAL - len(weights)
    frequencies = [1 + math.floor(weight / sum(weights) * room) for weight in weights]
    frequencies[frequencies.index(max(frequencies))] += TOTAL - sum(frequencies)
    cdf = [0]
    for frequency in frequencies:
        cdf.append(cdf[-1] + frequency)
    return cdf


def laplace(scale: float, reach: int, escape: float = 1e-3) -> list[int]:
    """Counts of the symbols -reach to reach and of the escape."""
    return counts([math.exp(-abs(k) / scale) for k in range(-reach, reach + 1)] + [escape])


def coded(symbols: list[int], indexes: list[int], tables: dict[str, list]) -> bytes:
    arguments = (indexes, tables["cdfs"], tables["cdfSizes"], tables["offsets"])
    stream = ANS.RansEncoder().encode_with_indexes(symbols, *arguments)
    assert ANS.RansDecoder().decode_with_indexes(stream, *arguments) == symbols
    return stream


def pool(cdfs: list[list[int]], offsets: list[int], pad: bool = False) -> dict[str, list]:
    """The tables; `pad` fills the rows with zeros to one length, as CompressAI's models have them."""
    length = max(map(len, cdfs)) if pad else 0
    return {
        "cdfs": [cdf + [0] * (length - len(cdf)) for cdf in cdfs],
        "cdfSizes": [len(cdf) for cdf in cdfs],
        "offsets": offsets,
    }


def case(name: str, tables: dict[str, list], indexes: list[int], symbols: list[int]) -> dict:
    return {
        "name": name,
        **tables,
        "indexes": indexes,
        "symbols": symbols,
        "hex": coded(symbols, indexes, tables).hex(),
    }


def drawn(rng: random.Random, cdf: list[int], offset: int, reach: int) -> int:
    """A symbol with about its table's probability; escapes lie up to `reach` outside."""
    slot = rng.randrange(TOTAL)
    k = sum(count <= slot for count in cdf) - 1
    if k < len(cdf) - 2:
        return offset + k
    distance = rng.randrange(reach)
    return offset - 1 - distance if rng.random() < 0.5 else offset + k + distance


def message(name: str, seed: int, tables: dict[str, list], indexes: list[int], reach: int) -> dict:
    rng = random.Random(seed)
    rows = [cdf[:size] for cdf, size in zip(tables["cdfs"], tables["cdfSizes"], strict=True)]
    symbols = [drawn(rng, rows[t], tables["offsets"][t], reach) for t in indexes]
    return case(name, tables, indexes, symbols)


def cases() -> Iterator[dict]:
    small = laplace(1.0, 4)
    yield case("three symbols", pool([small], [-4]), [0] * 3, [0, -1, 2])
    yield case("every symbol of a table", pool([small], [-4]), [0] * 9, list(range(-4, 5)))
    yield case("the first escapes on either side", pool([small], [-4]), [0] * 4, [-5, 5, -6, 6])

    edges = [sign * (16**digits // 2 + delta) for digits in range(1, 7) for delta in (-1, 0, 1) for sign in (-1, 1)]
    yield case("escapes of one to seven digits", pool([small], [-4]), [0] * len(edges), edges)
    furthest = [-4 - 1 - LARGEST_DISTANCE, 5 + LARGEST_DISTANCE, 0]
    yield case("the largest escapes that CompressAI survives", pool([small], [-4]), [0] * 3, furthest)

    narrow = pool([[0, TOTAL - 1, TOTAL], [0, 1, TOTAL], [0, 1, 2, TOTAL], [0, 1, TOTAL - 1, TOTAL]], [0, 0, -7, 100])
    yield case("almost free symbols", narrow, [0] * 40, [0] * 40)
    yield case("symbols of 1/65536", narrow, [1, 2, 2, 3] * 3, [0, -7, -6, 100] * 3)
    yield case("escapes of 65535/65536 and of 1/65536", narrow, [1, 0, 1, 0, 2, 3], [5, 5, -5, -5, 0, 0])

    ragged = [laplace(0.2, 1), laplace(0.8, 3), laplace(3.0, 12), laplace(9.0, 30)]
    offsets = [-1, -3, -12, -30]
    rng = random.Random(1)
    mixed = [rng.randrange(4) for _ in range(400)]
    yield message("rows of their own length", 2, pool(ragged, offsets), mixed, 50)
    yield message("rows padded with zeros", 3, pool(ragged, offsets, pad=True), mixed, 50)
    yield message("tables away from zero", 4, pool(ragged, [1000, -70000, 7, -3]), mixed[:100], 1 << 20)
    uniform = pool([list(range(0, TOTAL + 1, 256))], [-128])
    yield message("257 counts, all as likely", 5, uniform, [0] * 300, 100)
    often = pool([laplace(1.0, 2, escape=4.0)], [-2])
    yield message("mostly escapes", 6, often, [0] * 150, LARGEST_DISTANCE)


def long_case(name: str, per_channel: int, tables: dict[str, list], seed: int) -> dict:
    """Symbols that are made again rather than written down, channel after channel of `per_channel` symbols.

    The generator is x := (1664525 x + 1013904223) mod 2^32 from `seed` (Numerical Recipes). A symbol is the one with
    slot x >> 16; for the escape's slot the next x is drawn and the symbol is x mod 2^12 outside, below if x >= 2^31.
    """
    x = seed

    def draw() -> int:
        nonlocal x
        x = (1664525 * x + 1013904223) & 0xFFFFFFFF
        return x

    indexes, symbols = [], []
    for t, (cdf, size, offset) in enumerate(zip(*tables.values(), strict=True)):
        last = size - 2
        for _ in range(per_channel):
            slot = draw() >> 16
            k = next(k for k in range(size) if cdf[k + 1] > slot)
            if k == last:
                value = draw()
                distance = value & 0xFFF
                k = -1 - distance if value >> 31 else last + distance
            indexes.append(t)
            symbols.append(offset + k)
    stream = coded(symbols, indexes, tables)
    return {
        "name": name,
        "perChannel": per_channel,
        "seed": seed,
        **tables,
        "bytes": len(stream),
        "sha256": hashlib.sha256(stream).hexdigest(),
    }


def long_cases() -> Iterator[dict]:
    rng = random.Random(7)
    reaches = [1 + int(20 * rng.random() ** 3) for _ in range(64)]
    cdfs = [laplace(reach / 4, reach, 2e-2) for reach in reaches]
    tables = pool(cdfs, [-reach for reach in reaches])
    yield long_case("64 channels of 28 x 28", 784, tables, 1)
    yield long_case("64 channels of 1176: 75,264 symbols", 1176, tables, 2)


def main() -> None:
    lines = {"cases": list(cases()), "long": list(long_cases())}
    about = "Streams of CompressAI 1.2.8's RansEncoder.encode_with_indexes; written by generate-compressai.py"
    text = ",\n".join(
        f'"{key}": [\n' + ",\n".join(json.dumps(line, separators=(",", ":")) for line in value) + "\n]"
        for key, value in lines.items()
    )
    Path(__file__).with_name("compressai.json").write_text(f'{{\n"about": {json.dumps(about)},\n{text}\n}}\n')


if __name__ == "__main__":
    main()
