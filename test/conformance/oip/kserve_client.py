"""python kserve_client.py <host:port> <model> <bitstream files>: KServe's own client against Raccoon's front; prints JSON."""

import asyncio
import json
import sys
from pathlib import Path

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest

address, model, *files = sys.argv[1:]


async def main() -> None:
    client = InferenceGRPCClient(address)
    tensor = InferInput("bitstream", [len(files)], "BYTES")
    tensor.set_data_from_numpy(np.array([Path(file).read_bytes() for file in files], dtype=np.object_))
    answer = await client.infer(InferRequest(model, [tensor], request_id="r-2"))
    outputs = {output.name: output.as_numpy().tolist() for output in answer.outputs}
    ready = [await client.is_server_live(), await client.is_server_ready(), await client.is_model_ready(model)]
    print(json.dumps({"id": answer.id, "ready": ready, **outputs}))


asyncio.run(main())
