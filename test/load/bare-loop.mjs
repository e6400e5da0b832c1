// A child process of saturation.mjs: bitstreams -> symbols -> logits in full batches, with the session options of the service's
// workers, and no service. Answers its task with 'ready', then every { seconds } with images per second.
import { openBundle } from '@raccoon/bundle/node';
import { decodeBitstream } from '@raccoon/codec';
import * as ort from 'onnxruntime-node';

process.once('message', (task) => void start(task));

async function start({ folder, payloads, batch, threads }) {
  const bundle = await openBundle(folder);
  const { latent, decoder, classifier } = bundle.manifest;
  const options = {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  };
  const decoderSession = await ort.InferenceSession.create(await bundle.read(decoder.file), options);
  const classifierSession = await ort.InferenceSession.create(await bundle.read(classifier.file), options);
  const { channels, height, width } = latent;
  const size = channels * height * width;
  const symbols = new Int16Array(batch * size);
  let next = 0;

  async function once() {
    const points = [];
    for (let i = 0; i < batch; i++) {
      const image = decodeBitstream([payloads[next++ % payloads.length]], bundle.codecs);
      symbols.set(image.symbols, i * size);
      points.push(image.point);
    }
    const { features } = await decoderSession.run({
      symbols: new ort.Tensor('int16', symbols, [batch, channels, height, width]),
      point: new ort.Tensor('int64', BigInt64Array.from(points, BigInt), [batch]),
    });
    await classifierSession.run({ features });
  }

  async function rate(seconds) {
    const from = performance.now();
    let images = 0;
    while (performance.now() - from < 1000 * seconds) {
      await once();
      images += batch;
    }
    return (1000 * images) / (performance.now() - from);
  }

  process.on('message', ({ seconds }) => void rate(seconds).then((images) => process.send(images)));
  await once();
  process.send('ready');
}
