// Loaded before everything else (NODE_OPTIONS=--import), in a worker of `raccoon cloud`: its classifier sleeps for as long as a file
// says, so that two processors can stand for a dozen. All else is the worker as it ships.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const file = process.env.RACCOON_SLEEP;
if (file && process.argv[1]?.endsWith('worker.js')) {
  const { InferenceSession } = createRequire(import.meta.url)('onnxruntime-node');
  const nap = new Int32Array(new SharedArrayBuffer(4));
  const { create } = InferenceSession;
  InferenceSession.create = async (...args) => {
    const session = await create.apply(InferenceSession, args);
    if (!session.inputNames.includes('features')) return session;
    return {
      async run(feeds) {
        const { batchMs, imageMs } = JSON.parse(readFileSync(file, 'utf8'));
        const end = performance.now() + batchMs + imageMs * feeds.features.dims[0];
        const outputs = await session.run(feeds);
        Atomics.wait(nap, 0, 0, Math.max(0, end - performance.now()));
        return outputs;
      },
      release: () => session.release(),
    };
  };
}
