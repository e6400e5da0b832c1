"""A client of `raccoon cloud` that shares no code with it: grpcio, and stubs that protoc made from the .proto.

    python foreign-client.py HOST:PORT FILE.rac

Prints JSON: the bundle, and the classes of the image by a stream and by a single call.
"""

import json
import struct
import sys

import grpc
from raccoon.v1 import raccoon_pb2, raccoon_pb2_grpc


def read_rac(path: str) -> bytes:
    """The one slice of a .rac file: "RAC\\0", then each slice after its length (docs/bitstream.md)."""
    with open(path, "rb") as file:
        content = file.read()
    if content[:4] != b"RAC\0":
        raise ValueError(f"{path} is not a .rac file")
    (length,) = struct.unpack_from("<I", content, 4)
    if 8 + length != len(content):
        raise ValueError(f"{path} has more than one slice")
    return content[8:]


def classes(result: raccoon_pb2.Result) -> list[dict[str, float]]:
    return [{"index": score.index, "probability": score.probability} for score in result.top]


def main() -> None:
    address, path = sys.argv[1:]
    request = raccoon_pb2.InferRequest(id=1, payload=read_rac(path), top_k=5)
    with grpc.insecure_channel(address) as channel:
        stub = raccoon_pb2_grpc.RaccoonStub(channel)
        hello = raccoon_pb2.Hello(protocol_min=1, protocol_max=1, client="foreign-client.py")
        messages = [raccoon_pb2.ClientMessage(hello=hello), raccoon_pb2.ClientMessage(request=request)]
        welcome, answer = stub.Infer(iter(messages), timeout=60)
        single = stub.InferOnce(request, timeout=60)
    report = {
        "bundle": welcome.welcome.bundle,
        "version": welcome.welcome.bundle_version,
        "stream": classes(answer.response.result),
        "single": classes(single.result),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
