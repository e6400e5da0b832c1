// node server.mjs <port> <bundle folders>: a server of the Open Inference Protocol, as small as one can be: ONNX Runtime on decoder.onnx
// and classifier.onnx of every bundle, by the .proto file and @grpc/grpc-js, without a line of ours. It prints its port. With TLS where
// OIP_CERT and OIP_KEY name files.
// A line on stdin changes what it does from then on: `not-ready`, `shape`, `dtype`, `nan`, `slow`, `full`, `mute`, or `good`.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import * as ort from 'onnxruntime-node';

const [port, ...folders] = process.argv.slice(2);
const proto = fileURLToPath(new URL('../../../proto', import.meta.url));
const types = loadSync('inference/open_inference.proto', {
  includeDirs: [proto],
  defaults: true,
  longs: Number,
});

const models = new Map();
for (const folder of folders) {
  const read = (file) => readFileSync(join(folder, file));
  const manifest = JSON.parse(read('manifest.json').toString());
  const session = (file) => ort.InferenceSession.create(read(file), { intraOpNumThreads: 1 });
  const [decoder, classifier] = [await session('decoder.onnx'), await session('classifier.onnx')];
  for (const name of [manifest.name, `${manifest.name}-${manifest.version}`])
    models.set(name, { decoder, classifier });
}

let mode = 'good';
createInterface({ input: process.stdin }).on('line', (line) => {
  mode = line;
  process.stdout.write(`${mode}\n`);
});

/** A tensor of ours from its raw bytes, copied so that they are aligned. */
function tensor({ datatype, shape }, raw) {
  const [type, array] = { INT16: ['int16', Int16Array], INT64: ['int64', BigInt64Array] }[datatype];
  return new ort.Tensor(type, new array(Uint8Array.from(raw).buffer), shape);
}

async function infer({ modelName, id, inputs, rawInputContents }) {
  const model = models.get(modelName);
  if (!model) throw { code: status.NOT_FOUND, details: `no model ${modelName}` };
  if (mode === 'full') throw { code: status.RESOURCE_EXHAUSTED, details: 'the queue is full' };
  if (mode === 'slow') await new Promise((resolve) => setTimeout(resolve, 60_000).unref());
  const feeds = Object.fromEntries(
    inputs.map((input, i) => [input.name, tensor(input, rawInputContents[i])]),
  );
  const { features } = await model.decoder.run(feeds);
  const { logits } = await model.classifier.run({ features });
  const [images, classes] = logits.dims;
  const values = logits.data;
  if (mode === 'nan') values.fill(NaN, 0, classes); // of the first image
  const shape = mode === 'shape' ? [images, classes + 1] : [images, classes];
  const datatype = mode === 'dtype' ? 'FP64' : 'FP32';
  return {
    modelName,
    id,
    outputs: mode === 'mute' ? [] : [{ name: 'logits', datatype, shape }],
    rawOutputContents:
      mode === 'mute' ? [] : [new Uint8Array(values.buffer, values.byteOffset, values.byteLength)],
  };
}

const server = new Server({ 'grpc.max_receive_message_length': -1 });
server.addService(types['inference.GRPCInferenceService'], {
  ServerLive: (_, reply) => reply(null, { live: true }),
  ServerReady: (_, reply) => reply(null, { ready: true }),
  ModelReady: ({ request }, reply) =>
    reply(null, { ready: models.has(request.name) && mode !== 'not-ready' }),
  ServerMetadata: (_, reply) => reply(null, { name: 'small', version: '1' }),
  ModelMetadata: (_, reply) => reply({ code: status.UNIMPLEMENTED }),
  ModelInfer: ({ request }, reply) => void infer(request).then((answer) => reply(null, answer), reply),
});
const { OIP_CERT, OIP_KEY } = process.env;
const channel =
  OIP_CERT && OIP_KEY
    ? ServerCredentials.createSsl(null, [
        { cert_chain: readFileSync(OIP_CERT), private_key: readFileSync(OIP_KEY) },
      ])
    : ServerCredentials.createInsecure();
server.bindAsync(`127.0.0.1:${port}`, channel, (error, bound) => {
  if (error) throw error;
  process.stdout.write(`port ${bound}\n`);
});
