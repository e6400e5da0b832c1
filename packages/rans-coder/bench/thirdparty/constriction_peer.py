"""Times constriction's ANS coder: NumPy arrays, one call per channel. `python constriction_peer.py case.json`

Its fastest use from Python for tables like ours: a concrete Categorical model per channel, made beforehand from the
same frequencies (it quantises to 24 bits, so they are as good as exact), and symbols that count from 0 already.
"""

import sys

import numpy as np
from constriction import stream

from case import measure, read_case, report

RUNS = 21
WARM_UP_RUNS = 3


def main() -> None:
    case = read_case(sys.argv[1])
    planes = np.array(case.photos, dtype=np.int32).reshape(-1, case.channels, case.plane)  # (photos, C, h * w)
    photos = [list(photo) for photo in planes - np.array(case.offsets, dtype=np.int32)[:, None]]
    models = [
        stream.model.Categorical(np.array(row, dtype=np.float64) / 65536, lazy=False, perfect=False)
        for row in case.frequencies
    ]

    def encode(entries: list[np.ndarray]) -> np.ndarray:
        coder = stream.stack.AnsCoder()
        for channel in reversed(range(case.channels)):
            coder.encode_reverse(entries[channel], models[channel])
        return coder.get_compressed()

    encode_ms, streams = measure(lambda: [encode(entries) for entries in photos], RUNS, WARM_UP_RUNS)

    def decode(words: np.ndarray) -> list[np.ndarray]:
        coder = stream.stack.AnsCoder(words)
        return [coder.decode(model, case.plane) for model in models]

    decode_ms, decoded = measure(lambda: [decode(words) for words in streams], RUNS, WARM_UP_RUNS)
    if not np.array_equal(decoded, photos):
        raise AssertionError("the round trip failed")
    report(encode_ms, decode_ms, sum(words.nbytes for words in streams), f"NumPy {np.__version__} arrays, one call per channel, no escapes")


main()
