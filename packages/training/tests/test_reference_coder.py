"""The reference coder against the golden vectors that the TypeScript packages are held to as well."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from raccoon_training.reference_coder import (
    Codec,
    CodecError,
    Indexes,
    Runs,
    Table,
    Tables,
    codec_id,
    decode_bitstream,
    encode_bitstream,
    parse_pool,
    parse_tables,
    quantise,
    rans_decode,
    rans_encode,
    write_pool,
    write_tables,
)

VECTORS = Path(__file__).parents[3] / "test" / "vectors"
RANS, TABLES, QUANTISE, BITSTREAM = (
    json.loads((VECTORS / f"{name}.json").read_text()) for name in ("rans", "tables", "quantise", "bitstream")
)
POOL = [Table(**table) for table in RANS["tables"]]
CODECS = {v["name"]: Codec(v["codecId"], parse_tables(bytes.fromhex(v["tablesBin"]))) for v in TABLES["good"]}
BY_ID = {codec.id: codec for codec in CODECS.values()}


def each(cases: list[dict]):
    return pytest.mark.parametrize("vector", cases, ids=[case["name"] for case in cases])


def latents_and_tables(vector: dict) -> tuple[np.ndarray, Tables]:
    latent = np.frombuffer(bytes.fromhex(vector["latentFloat32"]), "<f4").reshape(1, 1, -1)
    gain, median = (np.array([[vector[name]]], np.float32) for name in ("gain", "median"))
    return latent, Tables(gain, median, np.zeros((1, 1), int), [])


def indexes_of(vector: dict) -> Indexes:
    return Runs(**vector["runs"]) if "runs" in vector else vector["indexes"]


@each(RANS["good"])
def test_rans(vector):
    indexes = indexes_of(vector)
    assert rans_encode(vector["symbols"], indexes, POOL, vector["lanes"]).hex() == vector["bytes"]
    assert rans_decode(bytes.fromhex(vector["bytes"]), indexes, POOL) == vector["symbols"]


@each(RANS["bad"])
def test_bad_rans(vector):
    symbol_bits = 16 if vector.get("out") == "int16" else 32
    with pytest.raises(CodecError) as raised:
        rans_decode(bytes.fromhex(vector["bytes"]), indexes_of(vector), POOL, symbol_bits)
    assert raised.value.code == vector["code"]


@each(RANS["goodPools"])
def test_pool(vector):
    pool = [Table(**table) for table in vector["tables"]]
    assert write_pool(pool).hex() == vector["bytes"]
    assert parse_pool(bytes.fromhex(vector["bytes"])) == pool


@each(RANS["badPools"])
def test_bad_pool(vector):
    with pytest.raises(CodecError) as raised:
        parse_pool(bytes.fromhex(vector["bytes"]))
    assert raised.value.code == vector["code"]


@each(TABLES["good"])
def test_tables(vector):
    shape = (vector["points"], vector["channels"])
    gain, median, table_of = (np.reshape(vector[name], shape) for name in ("gain", "median", "tableOf"))
    pool = [(table["offset"], np.array(table["frequencies"])) for table in vector["tables"]]
    data = write_tables(gain.astype(np.float32), median.astype(np.float32), table_of, pool)
    assert data.hex() == vector["tablesBin"]
    assert codec_id(data, vector["latentSpaceId"]) == vector["codecId"]

    tables = parse_tables(data)
    assert (tables.gain == gain).all() and (tables.median == median).all() and (tables.table_of == table_of).all()
    assert [(t.offset, t.frequencies) for t in tables.tables] == [(o, f.tolist()) for o, f in pool]


@each(TABLES["bad"])
def test_bad_tables(vector):
    with pytest.raises(CodecError) as raised:
        parse_tables(bytes.fromhex(vector["tablesBin"]))
    assert raised.value.code == vector["code"]
    assert getattr(raised.value.__cause__, "code", None) == vector.get("cause")


@pytest.mark.parametrize("wrong", ["", "0" * 31, "0" * 33, "A" * 32])
def test_bad_latent_space_id(wrong):
    with pytest.raises(CodecError, match="latent-space-id"):
        codec_id(b"", wrong)


def test_writer_refuses_what_a_reader_would():
    one = np.ones((1, 1), np.float32)
    with pytest.raises(CodecError, match="invalid-table"):
        write_tables(one, one, np.zeros((1, 1), int), [(0, np.array([1, 65534]))])
    with pytest.raises(CodecError, match="invalid-table"):
        write_tables(one, one, np.zeros((1, 1), int), [(-40000, np.array([1, 65535]))])
    with pytest.raises(CodecError, match="tables-value"):
        write_tables(one, one, np.ones((1, 1), int), [(0, np.array([1, 65535]))])
    with pytest.raises(CodecError, match="tables-value"):
        write_tables(-one, one, np.zeros((1, 1), int), [(0, np.array([1, 65535]))])
    with pytest.raises(CodecError, match="tables-too-large"):
        wide = np.ones(65535, int)
        wide[0] += 1
        write_tables(one, one, np.zeros((1, 1), int), [(-32768, wide)] * 3)


@each(QUANTISE["good"])
def test_quantise(vector):
    latent, tables = latents_and_tables(vector)
    assert quantise(latent, 0, tables).ravel().tolist() == vector["symbols"]


@each(QUANTISE["bad"])
def test_bad_latents(vector):
    latent, tables = latents_and_tables(vector)
    with pytest.raises(CodecError) as raised:
        quantise(latent, 0, tables)
    assert raised.value.code == vector["code"]


@each(BITSTREAM["good"])
def test_bitstream(vector):
    codec, point, h, w, ends = (vector[name] for name in ("codec", "point", "h", "w", "channelEnds"))
    symbols = np.reshape(vector["symbols"], (ends[-1], h, w))
    slices = encode_bitstream(symbols, point, CODECS[codec], ends)
    assert [data.hex() for data in slices] == vector["slices"]
    for count, end in enumerate(ends, 1):  # every prefix is an image whose later channels are zero
        decoded_point, decoded = decode_bitstream(slices[:count], BY_ID)
        assert decoded_point == point
        assert (decoded[:end] == symbols[:end]).all() and not decoded[end:].any()

    file = b"RAC\0" + b"".join(struct.pack("<I", len(data)) + data for data in slices)
    assert file.hex() == vector["rac"]


@each(BITSTREAM["bad"])
def test_bad_bitstream(vector):
    with pytest.raises(CodecError) as raised:
        decode_bitstream([bytes.fromhex(data) for data in vector["slices"]], BY_ID)
    assert raised.value.code == vector["code"]
    assert getattr(raised.value.__cause__, "code", None) == vector.get("cause")


@each(BITSTREAM["beyondLimits"])
def test_limits(vector):
    limits = vector["limits"]
    with pytest.raises(CodecError) as raised:
        decode_bitstream(
            [bytes.fromhex(data) for data in vector["slices"]], BY_ID, limits["maxBytes"], limits["maxSymbols"]
        )
    assert raised.value.code == vector["code"]
