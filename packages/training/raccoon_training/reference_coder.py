"""The reference coder: symbols <-> bitstream, and tables.bin, as docs/bitstream.md and docs/rans.md have them.

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

VERSION = 1  # of bitstream, rANS stream, tables.bin and pool alike
TOTAL = 1 << 16  # frequencies of one table sum to this
LOWEST = 1 << 23  # the smallest state, which is also the first one; states are below 2^31
MORE_LANES = 1 << 31  # top bit of a lane's last state: another lane follows
LEAST_FLAG = 1024  # of 65536: a run that is less likely than this to be flagged has no flag
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

    @cached_property
    def likeliest(self) -> int:
        """The entry with the highest frequency, the escape apart, the first of equals."""
        return max(range(self.escape), key=self.frequencies.__getitem__)

    @cached_property
    def costs(self) -> tuple[int, int]:
        """Of the likeliest symbol, and the mean of everything else, in 1/1024 bits."""
        cost = [16 * 1024 - fixed_log2(frequency) for frequency in self.frequencies]
        likeliest = self.likeliest
        cost_of_likeliest = cost[likeliest]
        cost[self.escape] += 12 * 1024  # taken to have three digits
        rest = sum(f * c for k, (f, c) in enumerate(zip(self.frequencies, cost, strict=True)) if k != likeliest)
        return cost_of_likeliest, rest // (TOTAL - self.frequencies[likeliest])

    def has(self, symbol: int) -> bool:
        return 0 <= symbol - self.offset < self.escape


def fixed_log2(value: int) -> int:
    """1024 log2 value by squaring: whether the square reaches 2^16 is the next binary place."""
    log = value.bit_length() - 1
    mantissa = value << (15 - log)  # in [2^15, 2^16)
    for _ in range(10):
        mantissa = mantissa * mantissa >> 15
        carry = mantissa >> 16
        mantissa >>= carry
        log = log << 1 | carry
    return log


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


def leb128(value: int) -> bytes:
    """Seven bits a byte, lowest first, the top bit where another byte follows."""
    return bytes([value]) if value < 0x80 else bytes([value & 0x7F | 0x80]) + leb128(value >> 7)


def write_pool(pool: Sequence[Table]) -> bytes:
    """The distributions as docs/rans.md serialises them ("Tables as bytes")."""
    data = b"RNTB" + bytes([VERSION]) + leb128(len(pool))
    for table in pool:
        numbers = (zigzag(table.offset), len(table.frequencies), *table.frequencies[:-1])
        data += b"".join(map(leb128, numbers))
    return data + struct.pack("<I", crc32c(data))


def parse_pool(data: bytes) -> list[Table]:
    """Reads what write_pool wrote. Raises CodecError 'tables-format', 'tables-checksum' or 'invalid-table'."""
    if len(data) < 9 or data[:4] != b"RNTB":
        raise CodecError("tables-format", "does not start with RNTB")
    if data[4] != VERSION:
        raise CodecError("tables-format", f"version {data[4]}")
    body = data[:-4]
    if crc32c(body) != int.from_bytes(data[-4:], "little"):
        raise CodecError("tables-checksum", "damaged")
    at = 5

    def number(most: int) -> int:
        nonlocal at
        start, value = at, 0
        for place in range(3):
            if at == len(body):
                raise CodecError("tables-format", "ends within a number")
            byte = body[at]
            at += 1
            value |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                break
        if value > most or leb128(value) != body[start:at]:
            raise CodecError("tables-format", f"{body[start:at].hex()} is no number up to {most} in its shortest form")
        return value

    pool = []
    for _ in range(number(TOTAL)):
        offset, size = unzigzag(number(0xFFFF)), number(TOTAL)
        frequencies = [number(TOTAL) for _ in range(size - 1)]
        pool.append(Table(offset, [*frequencies, TOTAL - sum(frequencies)]))
    if at != len(body):
        raise CodecError("tables-format", f"{len(body) - at} bytes are left after the last table")
    return pool


def write_tables(
    gain: np.ndarray, median: np.ndarray, table_of: np.ndarray, tables: Sequence[tuple[int, np.ndarray]]
) -> bytes:
    """tables.bin from gain, median and table_of (P, C) and the pool of (offset, frequencies)."""
    points, channels = gain.shape
    pool = [Table(int(offset), np.asarray(frequencies).tolist()) for offset, frequencies in tables]
    if not 0 <= np.min(table_of) <= np.max(table_of) < len(pool):
        raise CodecError("tables-value", f"table_of up to {np.max(table_of)}, but there are {len(pool)} tables")
    data = b"".join((
        struct.pack("<4sBBH", b"RTAB", VERSION, points, channels),
        np.asarray(gain, "<f4").tobytes(),
        np.asarray(median, "<f4").tobytes(),
        np.asarray(table_of, "<u2").tobytes(),
        write_pool(pool),
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
    if len(data) < 8:
        raise CodecError("tables-length", f"{len(data)} bytes")
    version, points, channels = struct.unpack_from("<BBH", data, 4)
    if version != VERSION:
        raise CodecError("tables-version", f"version {version}")
    if points < 1 or not 1 <= channels <= 255:
        raise CodecError("tables-header", f"{points} points, {channels} channels")

    cells = points * channels
    if len(data) < 8 + 10 * cells:
        raise CodecError("tables-length", f"{len(data)} bytes where the counts need {8 + 10 * cells} before the pool")
    gain, median, table_of = (
        np.frombuffer(data, dtype, cells, 8 + start * cells).reshape(points, channels)
        for dtype, start in (("<f4", 0), ("<f4", 4), ("<u2", 8))
    )
    try:
        tables = parse_pool(data[8 + 10 * cells :])
    except CodecError as error:
        raise CodecError("tables-distribution", str(error)) from error
    if not (
        np.isfinite(gain).all() and (gain > 0).all() and np.isfinite(median).all() and (table_of < len(tables)).all()
    ):
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


# ---- symbols <-> rANS bytes (docs/rans.md) ----


@dataclass(frozen=True)
class Runs:
    """Indexes of runs of `length` symbols each: run r is coded with table tables[r]."""

    tables: Sequence[int]
    length: int


Indexes = Sequence[int] | Runs  # a table for each symbol, or for each run


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


def flag_chance(table: Table, length: int) -> int:
    """The chance, of 65536, that a run is nothing but the likeliest symbol; 0 where runs have no flag."""
    chance, power, n = TOTAL, table.frequencies[table.likeliest], length
    while n > 0:
        if n % 2 == 1:
            chance = chance * power // TOTAL
        power = power * power // TOTAL
        n //= 2
    return chance if length >= 2 and chance >= LEAST_FLAG else 0


def choose_lanes(symbols: Sequence[int], indexes: Sequence[int], tables: Sequence[Table]) -> int:
    """4 lanes for 2,048 expected bytes or more, 2 from 1,024, else 1; symbol i with table indexes[i]."""
    cost = 0
    for symbol, index in zip(symbols, indexes, strict=True):
        of_likeliest, of_others = tables[index].costs
        cost += of_likeliest if symbol == tables[index].offset + tables[index].likeliest else of_others
    expected_bytes = cost / (8 * 1024)
    return 4 if expected_bytes >= 2048 else 2 if expected_bytes >= 1024 else 1


def rans_encode(symbols: Sequence[int], indexes: Indexes, tables: Sequence[Table], lanes: int | None = None) -> bytes:
    """The stream of the symbols; `lanes` is 1, 2 or 4, by default what pays.

    Two where four come to fewer than 1,600 bytes. All steps in reading order, each (lane, cumulative,
    frequency, bits), then taken backwards: rANS is a stack.
    """
    if lanes is None:
        runs = isinstance(indexes, Runs)
        of_symbols = [index for index in indexes.tables for _ in range(indexes.length)] if runs else indexes
        lanes = choose_lanes(symbols, of_symbols, tables)
        data = rans_encode(symbols, indexes, tables, lanes)
        return rans_encode(symbols, indexes, tables, 2) if lanes == 4 and len(data) < 1600 else data

    steps = []
    if isinstance(indexes, Runs):
        for r, index in enumerate(indexes.tables):
            table, run = tables[index], symbols[r * indexes.length : (r + 1) * indexes.length]
            chance = flag_chance(table, indexes.length)
            flagged = chance > 0 and all(symbol == table.offset + table.likeliest for symbol in run)
            if chance > 0:
                steps.append((0, 0, chance, 16) if flagged else (0, chance, TOTAL - chance, 16))
            if not flagged:
                steps += [(j % lanes, *step) for j, symbol in enumerate(run) for step in steps_of(symbol, table)]
    else:
        for i, (symbol, index) in enumerate(zip(symbols, indexes, strict=True)):
            steps += [(i % lanes, *step) for step in steps_of(symbol, tables[index])]

    states, data = [LOWEST] * lanes, bytearray()
    for lane, cumulative, frequency, bits in reversed(steps):
        x = states[lane]
        while x >= frequency << (31 - bits):
            data.append(x & 0xFF)
            x >>= 8
        states[lane] = (x // frequency << bits) + cumulative + x % frequency
    for lane in reversed(range(lanes)):
        data += struct.pack("<I", states[lane] | (MORE_LANES if lane < lanes - 1 else 0))
    return bytes(data)


class Reader:
    """The decoder's states over `data`, which is read from its end; `left` bytes are not read yet."""

    def __init__(self, data: bytes):
        self.data, self.left, self.states, more = data, len(data), [], True
        while more:
            if len(self.states) == 4:
                raise CodecError("lane-count", "more than 4 lanes")
            word = int.from_bytes(self.take(4), "little")
            more = word >= MORE_LANES
            self.states.append(word % MORE_LANES)
        if len(self.states) == 3:
            raise CodecError("lane-count", "3 lanes")
        if min(self.states) < LOWEST:
            raise CodecError("initial-state", f"a lane starts with state {min(self.states)}")

    def take(self, count: int) -> bytes:
        if self.left < count:
            raise CodecError("truncated", f"the stream ends after {len(self.data)} bytes, before its last symbol")
        self.left -= count
        return self.data[self.left : self.left + count]

    def step(self, lane: int, cumulative: Sequence[int], bits: int) -> int:
        """The k with cumulative[k] <= slot < cumulative[k + 1], the sum being 2^bits."""
        x = self.states[lane]
        slot = x & ((1 << bits) - 1)
        k = bisect_right(cumulative, slot) - 1
        x = (cumulative[k + 1] - cumulative[k]) * (x >> bits) + slot - cumulative[k]
        while x < LOWEST:
            x = x << 8 | self.take(1)[0]
        self.states[lane] = x
        return k

    def symbol(self, j: int, table: Table, symbol_bits: int) -> int:
        """Symbol j of its run, or of all where each has its own table."""
        lane = j % len(self.states)
        k = self.step(lane, table.cumulative, 16)
        if k < table.escape:
            return table.offset + k
        uniform = range(17)
        count = self.step(lane, uniform, 4)
        if count > 8:
            raise CodecError("escape-length", f"an escape with {count} digits")
        value = 0
        for _ in range(count):
            value = value << 4 | self.step(lane, uniform, 4)
        symbol = unzigzag(value)
        leading_zero = count > 0 and value >> 4 * (count - 1) == 0
        if leading_zero or table.has(symbol):
            raise CodecError("escape-not-shortest", f"{symbol} has a shorter code than the one used")
        if value >= 1 << symbol_bits:
            raise CodecError("symbol-range", f"{symbol} is not int{symbol_bits}")
        return symbol

    def run(self, length: int, table: Table, symbol_bits: int) -> list[int]:
        flagged = [table.offset + table.likeliest] * length
        chance = flag_chance(table, length)
        if chance > 0 and self.step(0, (0, chance, TOTAL), 16) == 0:
            return flagged
        symbols = [self.symbol(j, table, symbol_bits) for j in range(length)]
        if chance > 0 and symbols == flagged:
            raise CodecError("run-not-flagged", f"{length} times {symbols[0]} without the flag")
        return symbols

    def finish(self) -> None:
        if self.left > 0:
            raise CodecError("trailing-bytes", f"{self.left} bytes are left")
        if any(state != LOWEST for state in self.states):
            raise CodecError("final-state", f"the lanes end in states {self.states}")


def rans_decode(data: bytes, indexes: Indexes, tables: Sequence[Table], symbol_bits: int = 32) -> list[int]:
    """The symbols of a stream, up to int32 or int16. Accepts exactly what rans_encode makes."""
    beyond = [index for index in (indexes.tables if isinstance(indexes, Runs) else indexes) if index >= len(tables)]
    if beyond:
        raise CodecError("index-out-of-range", f"table {beyond[0]} of {len(tables)}")
    reader = Reader(data)
    if isinstance(indexes, Runs):
        runs = [reader.run(indexes.length, tables[index], symbol_bits) for index in indexes.tables]
        symbols = [symbol for run in runs for symbol in run]
    else:
        symbols = [reader.symbol(i, tables[index], symbol_bits) for i, index in enumerate(indexes)]
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
        runs = Runs(codec.tables.table_of[point, start:end].tolist(), h * w)
        words = rans_encode(symbols[start:end].ravel().tolist(), runs, codec.tables.tables)
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
        runs = Runs(tables.table_of[point, start:end].tolist(), h * w)
        try:
            values = rans_decode(data[header_bytes:], runs, tables.tables, symbol_bits=16)
        except CodecError as error:
            raise CodecError("entropy", f"slice {index}: {error}") from error
        symbols[start:end] = np.reshape(values, (end - start, h, w))
        start = end
    return point, symbols
