"""The reference coder: symbols <-> bitstream, and tables.bin, as docs/bitstream.md has them (version 0).

    latent (C, h, w) --quantise--> symbols (C, h, w) --encode_bitstream--> slices --decode_bitstream--> symbols

Written to be read, symbol by symbol in Python integers; the TypeScript packages are the fast ones. Both are held to the
same bytes by test/vectors. Needs numpy only.
"""

import hashlib
import re
import struct
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

VERSION = 0
TOTAL = 1 << 16  # frequencies of one table sum to this
LOWEST = 1 << 16  # the smallest state, which is also the first one; states are below 2^32
MAX_SLICES = 4
MAX_BYTES = 1 << 20  # of all slices of an image
MAX_SYMBOLS = 1 << 20  # of an image
MAX_TABLES_BYTES = 150_000
HEADER_BYTES = 16  # of the first slice, checksum included
LATER_HEADER_BYTES = 8


class CodecError(ValueError):
    """Bad input; `code` is one of the codes in docs/bitstream.md."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code


# ---- tables ----


@dataclass(frozen=True)
class Table:
    """A distribution: frequencies[k] belongs to symbol offset + k, the last one to the escape."""

    offset: int
    frequencies: list[int]

    def __post_init__(self):
        symbols = len(self.frequencies) - 1
        if symbols < 1 or min(self.frequencies) < 1 or sum(self.frequencies) != TOTAL:
            raise CodecError("invalid-table", f"{len(self.frequencies)} frequencies, sum {sum(self.frequencies)}")
        if self.offset < -0x8000 or self.offset + symbols - 1 > 0x7FFF:
            raise CodecError("invalid-table", f"symbols from {self.offset} are not int16")

    @property
    def escape(self) -> int:
        return len(self.frequencies) - 1

    @cached_property
    def cumulative(self) -> list[int]:
        return [0, *accumulate(self.frequencies)]

    def has(self, symbol: int) -> bool:
        return 0 <= symbol - self.offset < self.escape


@dataclass(frozen=True)
class Tables:
    """tables.bin, parsed: gain and median (P, C) float32, table_of (P, C) int, and the pool of distributions."""

    gain: np.ndarray
    median: np.ndarray
    table_of: np.ndarray
    tables: list[Table]


@dataclass(frozen=True)
class Codec:
    """Tables under the id that a bitstream names them by (12 hexadecimal characters)."""

    id: str
    tables: Tables


def write_tables(
    gain: np.ndarray, median: np.ndarray, table_of: np.ndarray, tables: Sequence[tuple[int, np.ndarray]]
) -> bytes:
    """tables.bin from gain, median and table_of (P, C) and the pool of (offset, frequencies)."""
    points, channels = gain.shape
    pool = [Table(int(offset), np.asarray(frequencies).tolist()) for offset, frequencies in tables]
    if not 0 <= np.min(table_of) <= np.max(table_of) < len(pool):
        raise CodecError("tables-value", f"table_of up to {np.max(table_of)}, but there are {len(pool)} tables")
    data = b"".join((
        struct.pack("<4sBBHHH", b"RTAB", VERSION, points, channels, len(pool), 0),
        np.asarray(gain, "<f4").tobytes(),
        np.asarray(median, "<f4").tobytes(),
        np.asarray(table_of, "<u2").tobytes(),
        np.array([table.offset for table in pool], "<i2").tobytes(),
        np.array([len(table.frequencies) for table in pool], "<u2").tobytes(),
        *(np.array(table.frequencies, "<u2").tobytes() for table in pool),
    ))  # fmt: skip
    parse_tables(data)  # whatever else is wrong with it, a reader would say so
    return data


def parse_tables(data: bytes) -> Tables:
    """Reads tables.bin. Raises CodecError 'tables-...'."""
    if len(data) > MAX_TABLES_BYTES:
        raise CodecError(
            "tables-too-large", f"{len(data)} bytes, more than {MAX_TABLES_BYTES}; pool tables or export fewer points"
        )
    if data[:4] != b"RTAB":
        raise CodecError("tables-magic", "does not start with RTAB")
    if len(data) < 12:
        raise CodecError("tables-length", f"{len(data)} bytes")
    version, points, channels, count, reserved = struct.unpack_from("<BBHHH", data, 4)
    if version != VERSION:
        raise CodecError("tables-version", f"version {version}")
    if points < 1 or not 1 <= channels <= 255 or count < 1 or reserved != 0:
        raise CodecError("tables-header", f"{points} points, {channels} channels, {count} tables, reserved {reserved}")

    cells = points * channels
    at = 12

    def take(dtype: str, number: int) -> np.ndarray:
        nonlocal at
        if at + number * np.dtype(dtype).itemsize > len(data):
            raise CodecError("tables-length", f"{len(data)} bytes are fewer than the counts need")
        values = np.frombuffer(data, dtype, number, at)
        at += values.nbytes
        return values

    gain, median = (take("<f4", cells).reshape(points, channels) for _ in range(2))
    table_of = take("<u2", cells).reshape(points, channels)
    offsets, sizes = take("<i2", count), take("<u2", count)
    pool = [take("<u2", int(size)).tolist() for size in sizes]
    if at != len(data):
        raise CodecError("tables-length", f"{len(data)} bytes where the counts need {at}")
    try:
        tables = [Table(int(offset), frequencies) for offset, frequencies in zip(offsets, pool, strict=True)]
    except CodecError as error:
        raise CodecError("tables-distribution", str(error)) from error
    if not (np.isfinite(gain).all() and (gain > 0).all() and np.isfinite(median).all() and (table_of < count).all()):
        raise CodecError("tables-value", "a gain not above 0, a median not finite, or a table that is not there")
    return Tables(gain, median, table_of, tables)


def codec_id(tables_bin: bytes, latent_space_id: str) -> str:
    """12 hexadecimal characters; latent_space_id is 32, lower case, made once per training run."""
    if not re.fullmatch("[0-9a-f]{32}", latent_space_id):
        raise CodecError("latent-space-id", f"'{latent_space_id}' is not 32 lower-case hexadecimal characters")
    return hashlib.sha256(bytes.fromhex(latent_space_id) + tables_bin).hexdigest()[:12]


def load_codec(tables_bin: bytes, latent_space_id: str) -> Codec:
    return Codec(codec_id(tables_bin, latent_space_id), parse_tables(tables_bin))


# ---- latent -> symbols ----


def quantise(latent: np.ndarray, point: int, tables: Tables) -> np.ndarray:
    """latent (C, h, w) float32 -> symbols (C, h, w) int16: gain * (latent - median) in float64, half to even."""
    gain, median = (constant[point, :, None, None].astype(np.float64) for constant in (tables.gain, tables.median))
    with np.errstate(invalid="ignore"):
        symbols = np.rint(gain * (latent.astype(np.float64) - median))
    if not ((symbols >= -0x8000) & (symbols <= 0x7FFF)).all():
        raise CodecError("symbol-range", "a latent gives a symbol beyond int16")
    return symbols.astype(np.int16)


# ---- symbols <-> rANS bytes ----


def zigzag(symbol: int) -> int:
    return 2 * symbol if symbol >= 0 else -2 * symbol - 1


def unzigzag(value: int) -> int:
    return -(value + 1) // 2 if value & 1 else value // 2


def steps_of(symbol: int, table: Table) -> list[tuple[int, int, int]]:
    """What codes a symbol, in reading order: (cumulative, frequency, bits of the sum of frequencies)."""
    if table.has(symbol):
        k = symbol - table.offset
        return [(table.cumulative[k], table.frequencies[k], 16)]
    value = zigzag(symbol)
    digits = [int(digit, 16) for digit in f"{value:x}"] if value else []
    escape = (table.cumulative[table.escape], table.frequencies[table.escape], 16)
    return [escape, (len(digits), 1, 4), *((digit, 1, 4) for digit in digits)]


def rans_encode(symbols: Sequence[int], indexes: Sequence[int], tables: Sequence[Table]) -> bytes:
    """Symbol i with table indexes[i]. A stack: the last symbol goes in first, the last word comes out first."""
    steps = [step for symbol, index in zip(symbols, indexes, strict=True) for step in steps_of(symbol, tables[index])]
    state, words = LOWEST, []
    for cumulative, frequency, bits in reversed(steps):
        if state >= frequency << (32 - bits):
            words.append(state & 0xFFFF)
            state >>= 16
        state = (state // frequency << bits) + cumulative + state % frequency
    return struct.pack("<I", state) + struct.pack(f"<{len(words)}H", *reversed(words))


class Reader:
    """The decoder's state over `data`."""

    def __init__(self, data: bytes):
        if len(data) < 4:
            raise CodecError("truncated", f"{len(data)} bytes; the state alone has 4")
        self.data, self.at = data, 4
        self.state = int.from_bytes(data[:4], "little")
        if self.state < LOWEST:
            raise CodecError("initial-state", f"the stream starts with state {self.state}")

    def step(self, cumulative: Sequence[int], bits: int) -> int:
        """The k with cumulative[k] <= slot < cumulative[k + 1], the sum being 2^bits."""
        slot = self.state & ((1 << bits) - 1)
        k = bisect_right(cumulative, slot) - 1
        self.state = (cumulative[k + 1] - cumulative[k]) * (self.state >> bits) + slot - cumulative[k]
        if self.state < LOWEST:
            if self.at + 2 > len(self.data):
                raise CodecError("truncated", f"the stream ends after {len(self.data)} bytes, before its last symbol")
            self.state = self.state << 16 | int.from_bytes(self.data[self.at : self.at + 2], "little")
            self.at += 2
        return k

    def symbol(self, table: Table) -> int:
        k = self.step(table.cumulative, 16)
        if k < table.escape:
            return table.offset + k
        uniform = range(17)
        count = self.step(uniform, 4)
        if count > 8:
            raise CodecError("escape-length", f"an escape with {count} digits")
        value = 0
        for _ in range(count):
            value = value << 4 | self.step(uniform, 4)
        leading_zero = count > 0 and value >> 4 * (count - 1) == 0
        if leading_zero or table.has(unzigzag(value)):
            raise CodecError("escape-not-shortest", f"{unzigzag(value)} has a shorter code than the one used")
        return unzigzag(value)

    def finish(self) -> None:
        if self.at != len(self.data):
            raise CodecError("trailing-bytes", f"{len(self.data) - self.at} bytes are left")
        if self.state != LOWEST:
            raise CodecError("final-state", f"the stream ends in state {self.state}")


def rans_decode(data: bytes, indexes: Sequence[int], tables: Sequence[Table]) -> list[int]:
    """The symbols of a stream, symbol i with table indexes[i]. Accepts exactly what rans_encode makes."""
    reader = Reader(data)
    symbols = []
    for index in indexes:
        if index >= len(tables):
            raise CodecError("index-out-of-range", f"table {index} of {len(tables)}")
        symbols.append(reader.symbol(tables[index]))
    reader.finish()
    return symbols


# ---- symbols <-> slices ----


def crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C (Castagnoli), going on from crc."""
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def encode_bitstream(
    symbols: np.ndarray, point: int, codec: Codec, channel_ends: Sequence[int] | None = None
) -> list[bytes]:
    """symbols (C, h, w) int -> slices; slice i holds the channels up to channel_ends[i] (default: one slice of all)."""
    channels, h, w = symbols.shape
    channel_ends = channel_ends or [channels]
    slices, start, seed = [], 0, 0
    for index, end in enumerate(channel_ends):
        table_of = np.repeat(codec.tables.table_of[point, start:end], h * w)
        words = rans_encode(symbols[start:end].ravel().tolist(), table_of.tolist(), codec.tables.tables)
        position = index << 4 | len(channel_ends)
        if index == 0:
            fields = bytes([VERSION << 4, *bytes.fromhex(codec.id), point, h, w, position, end])
        else:
            fields = bytes([VERSION << 4, position, end, point])
        checksum = crc32c(fields + words, seed)
        slices.append(fields + struct.pack("<I", checksum) + words)
        start = end
        if index == 0:
            seed = checksum  # ties later slices to this image
    return slices


def check_start(data: bytes, header_bytes: int, seed: int) -> int:
    """What every slice starts with, in the order of docs/bitstream.md; returns the checksum."""
    if len(data) < header_bytes:
        raise CodecError("truncated", f"{len(data)} bytes; the header has {header_bytes}")
    if data[0] >> 4 != VERSION:
        raise CodecError("version", f"version {data[0] >> 4}")
    if data[0] & 15:
        raise CodecError("flags", f"flags {data[0] & 15}")
    checksum = int.from_bytes(data[header_bytes - 4 : header_bytes], "little")
    if crc32c(data[: header_bytes - 4] + data[header_bytes:], seed) != checksum:
        raise CodecError("checksum", "damaged, or of another image")
    return checksum


def decode_bitstream(
    slices: Sequence[bytes],
    codecs: Mapping[str, Codec],
    max_bytes: int = MAX_BYTES,
    max_symbols: int = MAX_SYMBOLS,
) -> tuple[int, np.ndarray]:
    """All slices of an image, or the first few -> (point, symbols (C, h, w) int16); missing channels are 0."""
    if not 1 <= len(slices) <= MAX_SLICES:
        raise CodecError("slice-count", f"{len(slices)} slices")
    if sum(map(len, slices)) > max_bytes:
        raise CodecError("too-many-bytes", f"{sum(map(len, slices))} bytes; the limit is {max_bytes}")
    first = slices[0]
    seed = check_start(first, HEADER_BYTES, 0)
    codec_name, point, h, w, position, end = first[1:7].hex(), *first[7:12]
    count = position & 15
    if h < 1 or w < 1:
        raise CodecError("shape-range", f"{h} x {w}")
    if position >> 4 != 0:
        raise CodecError("slice-order", f"slice {position >> 4} where the first must be")
    if not 1 <= count <= MAX_SLICES:
        raise CodecError("slice-count", f"the header says {count}")
    if end < 1:
        raise CodecError("channel-range", "the first slice has no channels")
    if end * h * w > max_symbols:
        raise CodecError("too-many-symbols", f"{end} x {h} x {w}; the limit is {max_symbols}")
    if len(slices) > count:
        raise CodecError("slice-count", f"{len(slices)} slices where the header says {count}")
    if codec_name not in codecs:
        raise CodecError("unknown-codec", f"{codec_name}; known are {', '.join(codecs) or 'none'}")
    tables = codecs[codec_name].tables
    points, channels = tables.gain.shape
    if point >= points:
        raise CodecError("point-range", f"point {point} of {points}")
    if channels * h * w > max_symbols:
        raise CodecError("too-many-symbols", f"{channels} x {h} x {w}; the limit is {max_symbols}")

    symbols = np.zeros((channels, h, w), np.int16)
    start = 0
    for index, data in enumerate(slices):
        header_bytes = LATER_HEADER_BYTES if index else HEADER_BYTES
        if index > 0:
            check_start(data, header_bytes, seed)
            if (data[1], data[3]) != (index << 4 | count, point):
                raise CodecError("slice-order", f"slice {data[1] >> 4} of {data[1] & 15}, point {data[3]}")
            end = data[2]
        last = index == count - 1
        if end <= start or (end != channels if last else end >= channels):
            raise CodecError("channel-range", f"slice {index} of {count} ends at channel {end} of {channels}")
        table_of = np.repeat(tables.table_of[point, start:end], h * w)
        try:
            values = rans_decode(data[header_bytes:], table_of.tolist(), tables.tables)
        except CodecError as error:
            raise CodecError("entropy", f"slice {index}: {error}") from error
        if min(values) < -0x8000 or max(values) > 0x7FFF:
            raise CodecError("entropy", f"slice {index}: a symbol beyond int16")
        symbols[start:end] = np.reshape(values, (end - start, h, w))
        start = end
    return point, symbols
