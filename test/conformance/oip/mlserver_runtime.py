"""An MLServer runtime for a bundle: `implementation` of model-settings.json, whose `parameters.uri` is the bundle's folder."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from networks import Networks


class Raccoon(MLModel):
    async def load(self) -> bool:
        self.networks = Networks(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        tensors = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        logits = self.networks.logits(tensors["symbols"], tensors["point"].reshape(-1))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("logits", logits)])
