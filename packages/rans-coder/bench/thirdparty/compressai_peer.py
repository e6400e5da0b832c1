"""Times CompressAI's coder as its users call it: Python lists in and out. `python compressai_peer.py case.json`

As in `compressai.entropy_models.EntropyModel.compress`: an index per symbol, CDFs padded to one length. The lists are
made beforehand; that the coder copies them into C++ vectors at every call is part of its interface, and so timed.
"""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import module_from_spec, spec_from_file_location
from itertools import accumulate
from pathlib import Path
from sysconfig import get_path
from types import ModuleType

from case import measure, read_case, report

RUNS = 15
WARM_UP_RUNS = 2


def load_ans() -> ModuleType:
    """The extension module `compressai.ans` alone: importing it through its package would need PyTorch."""
    path = Path(get_path("platlib")) / "compressai" / f"ans{EXTENSION_SUFFIXES[0]}"
    spec = spec_from_file_location("compressai.ans", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not an extension module")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    ans = load_ans()
    case = read_case(sys.argv[1])
    indexes = [channel for channel in range(case.channels) for _ in range(case.plane)]
    sizes = [len(row) + 1 for row in case.frequencies]
    cdfs = [[0, *accumulate(row), *[0] * (max(sizes) - len(row) - 1)] for row in case.frequencies]

    encoder, decoder = ans.RansEncoder(), ans.RansDecoder()
    encode_ms, streams = measure(
        lambda: [encoder.encode_with_indexes(photo, indexes, cdfs, sizes, case.offsets) for photo in case.photos],
        RUNS,
        WARM_UP_RUNS,
    )
    decode_ms, decoded = measure(
        lambda: [decoder.decode_with_indexes(stream, indexes, cdfs, sizes, case.offsets) for stream in streams],
        RUNS,
        WARM_UP_RUNS,
    )
    if decoded != case.photos:
        raise AssertionError("the round trip failed")
    report(encode_ms, decode_ms, sum(map(len, streams)), f"Python {sys.version.split()[0]} lists in and out, made beforehand")


main()
