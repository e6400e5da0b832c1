"""python kserve_server.py <bundle> <HTTP port> <gRPC port>: a bundle behind KServe's own server."""

import sys

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from networks import Networks


class Raccoon(Model):
    def __init__(self, bundle: str) -> None:
        self.networks = Networks(bundle)
        super().__init__(self.networks.name)
        self.ready = True

    def predict(self, payload: InferRequest, headers: dict | None = None, response_headers: dict | None = None):
        tensors = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        logits = self.networks.logits(tensors["symbols"], tensors["point"])
        output = InferOutput("logits", list(logits.shape), "FP32")
        output.set_data_from_numpy(logits, binary_data=True)
        return InferResponse(payload.id, self.name, [output])


bundle, http_port, grpc_port = sys.argv[1:]
server = ModelServer(http_port=int(http_port), grpc_port=int(grpc_port), enable_docs_url=False)
server.start([Raccoon(bundle)])
