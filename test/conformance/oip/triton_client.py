"""python triton_client.py <host:port> <model> <bitstream files>: Triton's own client against Raccoon's front; prints JSON."""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

address, model, *files = sys.argv[1:]
client = triton.InferenceServerClient(address)
bitstreams = np.array([Path(file).read_bytes() for file in files], dtype=np.object_)
tensor = triton.InferInput("bitstream", [len(files)], "BYTES").set_data_from_numpy(bitstreams)
answer = client.infer(model, [tensor], parameters={"top_k": 3}, request_id="r-1", client_timeout=30)
two = triton.InferInput("bitstream", [len(files), 1], "BYTES").set_data_from_numpy(bitstreams.reshape(-1, 1))
alone = client.infer(model, [two], outputs=[triton.InferRequestedOutput("logits")], timeout=30_000_000)


def status(call) -> str:
    try:
        call()
    except triton.InferenceServerException as error:
        return error.status()
    return "OK"


broken = np.array([Path(files[0]).read_bytes()[:-1] + b"?"], dtype=np.object_)
damaged = triton.InferInput("bitstream", [1], "BYTES").set_data_from_numpy(broken)
print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "modelReady": client.is_model_ready(model),
            "otherReady": client.is_model_ready("nobody"),
            "server": client.get_server_metadata(as_json=True),
            "model": client.get_model_metadata(model, as_json=True),
            "id": answer.get_response().id,
            "version": answer.get_response().model_version,
            "classes": answer.as_numpy("classes").tolist(),
            "probabilities": answer.as_numpy("probabilities").tolist(),
            "margin": answer.as_numpy("margin").tolist(),
            "logits": answer.as_numpy("logits").tolist(),
            "outputs": [output.name for output in alone.get_response().outputs],
            "argmax": alone.as_numpy("logits").argmax(axis=1).tolist(),
            "unknownModel": status(lambda: client.infer("nobody", [tensor])),
            "damaged": status(lambda: client.infer(model, [damaged])),
            "noTime": status(lambda: client.infer(model, [tensor], client_timeout=0.001)),
        }
    )
)
