import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Bundle } from '@raccoon/bundle';
import { openBundle } from '@raccoon/bundle/node';
import { encodeBitstream } from '@raccoon/codec';
import { openService, startCloud, type LocalService } from '@raccoon/cloud';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { OipCaller } from '../conformance/oip/client.ts';
import { random } from '../helpers/random.mjs';
import { root, shippedBundle, temporaryFolder } from '../helpers/paths.ts';
import { freePorts, started } from '../infra/replicas.ts';
import { run } from '../infra/tools.ts';

// Other people's servers as our backend, and their clients at our front. They are made by hand, once:
const REMEDY = 'node test/conformance/oip/make-servers.mjs';

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'raccoon/tools');
const here = join(root, 'test/conformance/oip');
const MODEL = 'imagenet1k-mobilenet';

/** A virtual environment of PyPI's packages; undefined, and a line on the console, where it was not made. */
function environment(name: string): string | undefined {
  const folder = join(cache, name);
  if (existsSync(join(folder, 'bin/python'))) return folder;
  console.warn(`!!! ${name} is missing, so what it would check is not: ${REMEDY}`);
  return undefined;
}

const mlserver = environment('oip-mlserver');
const kserve = environment('oip-kserve');
const triton = environment('oip-triton');
const missing = (name: string, folder: string | undefined): string =>
  folder === undefined ? ` (SKIPPED: ${name} is missing, ${REMEDY})` : '';

let bundle: Bundle;
let payloads: Uint8Array[];
beforeAll(async () => {
  bundle = await openBundle(shippedBundle);
  const { channels, height: h, width: w } = bundle.manifest.latent;
  payloads = Array.from({ length: 12 }, (_, i) => {
    const next = random(i + 1);
    const symbols = Int16Array.from({ length: channels * h * w }, () => Math.round(4 * next() - 2));
    return encodeBitstream(symbols, { h, w }, i, bundle.codec)[0]!;
  });
});

/** Resolves true once a server has the model ready. */
async function isReady(port: number): Promise<boolean> {
  const caller = new OipCaller(`127.0.0.1:${port}`);
  try {
    const { ready } = await caller.call<{ ready: boolean }>(
      'ModelReady',
      { name: MODEL },
      { deadlineMs: 2000 },
    );
    return ready;
  } finally {
    caller.close();
  }
}

/** A program of an environment that serves the model. @returns the port of its gRPC */
async function serve(
  program: string,
  args: readonly string[],
  port: number,
  env: Record<string, string> = {},
) {
  await started(program, args, { PYTHONDONTWRITEBYTECODE: '1', ...env }, () => isReady(port));
  return port;
}

async function startMlserver(folder: string): Promise<number> {
  const [http, grpc, metrics] = await freePorts(3);
  const models = temporaryFolder();
  const settings = {
    host: '127.0.0.1',
    http_port: http,
    grpc_port: grpc,
    metrics_port: metrics,
    parallel_workers: 0,
  };
  const model = {
    name: MODEL,
    implementation: 'mlserver_runtime.Raccoon',
    parameters: { uri: shippedBundle },
  };
  writeFileSync(join(models, 'settings.json'), JSON.stringify(settings));
  writeFileSync(join(models, 'model-settings.json'), JSON.stringify(model));
  return serve(join(folder, 'bin/mlserver'), ['start', models], grpc!, { PYTHONPATH: here });
}

async function startKserve(folder: string): Promise<number> {
  const [http, grpc] = await freePorts(2);
  const args = [join(here, 'kserve_server.py'), shippedBundle, String(http), String(grpc)];
  return serve(join(folder, 'bin/python'), args, grpc!);
}

/** The folder and the configurations of docs/oip.md; its ONNX backend is not on PyPI, so the Python one runs the files. */
async function startTriton(folder: string): Promise<number> {
  const [grpc] = await freePorts(1);
  const packages = join(folder, 'lib', pythonOf(folder), 'site-packages');
  const server = join(packages, 'pytriton/tritonserver');
  const work = temporaryFolder();
  const python = join(work, 'backends/python');
  cpSync(join(server, 'backends/python'), python, { recursive: true });
  cpSync(join(server, 'python_backend_stubs', pythonOf(folder).replace('python', '')), python, {
    recursive: true,
  });
  const models = join(work, 'models');
  const page = readFileSync(join(root, 'docs/oip.md'), 'utf8');
  const configurations = [...page.matchAll(/```protobuf\n# (\S+)\/config\.pbtxt\n([^]*?)```/g)];
  expect(configurations.map(([, name]) => name)).toEqual([MODEL, `${MODEL}-decoder`, `${MODEL}-classifier`]);
  for (const [, name, text] of configurations) {
    const version = join(models, name!, '1');
    mkdirSync(version, { recursive: true });
    writeFileSync(
      join(models, name!, 'config.pbtxt'),
      text!.replace('platform: "onnxruntime_onnx"', 'backend: "python"'),
    );
    if (name === MODEL) continue;
    cpSync(join(shippedBundle, `${name!.slice(MODEL.length + 1)}.onnx`), join(version, 'model.onnx'));
    cpSync(join(here, 'triton_model.py'), join(version, 'model.py'));
  }
  const where = ['--model-repository', models, '--backend-directory', join(work, 'backends')];
  const ports = ['--grpc-address', '127.0.0.1', '--grpc-port', String(grpc)];
  const only = ['--allow-http', 'false', '--allow-metrics', 'false'];
  const env = { PYTHONPATH: packages, LD_LIBRARY_PATH: join(packages, 'nvidia_pytriton.libs') };
  return serve(join(server, 'bin/tritonserver'), [...where, ...ports, ...only], grpc!, env);
}

/** `python3.11` */
function pythonOf(folder: string): string {
  const versions = ['3.11', '3.12', '3.13'].map((version) => `python${version}`);
  return versions.find((version) => existsSync(join(folder, 'lib', version)))!;
}

const context = () => ({ signal: new AbortController().signal, peer: 'test', caller: { name: 'test' } });

async function logitsOf({ service }: LocalService): Promise<Float32Array[]> {
  const asked = payloads.map((payload, i) =>
    service.infer({ id: i + 1, payload, wantLogits: true }, context()),
  );
  return (await Promise.all(asked)).map(({ result, error }) => {
    if (!result) throw new Error(error.message);
    return result.logits!;
  });
}

async function open(backend?: string): Promise<LocalService> {
  const service = await openService({
    bundle,
    workers: 1,
    maxBatch: 5,
    ...(backend && { backend: { url: backend } }),
  });
  onTestFinished(() => service.close());
  return service;
}

describe.each([
  ['MLServer', mlserver, startMlserver],
  ['KServe', kserve, startKserve],
  ['Triton', triton, startTriton],
] as const)('%s', (name, folder, start) => {
  test.skipIf(!folder)(
    `as the backend gives the logits of the embedded networks${missing(name, folder)}`,
    async () => {
      const port = await start(folder!);
      const [theirs, mine] = [
        await logitsOf(await open(`oip://127.0.0.1:${port}`)),
        await logitsOf(await open()),
      ];
      const scale = Math.max(...mine.map((logits) => Math.max(...logits.map(Math.abs))));
      let worst = 0;
      for (const [i, logits] of mine.entries())
        for (const [k, logit] of logits.entries()) worst = Math.max(worst, Math.abs(logit - theirs[i]![k]!));
      console.log(`${name}: ${mine.length} images, worst logit off by ${worst} of ${scale}`);
      expect(worst / scale).toBeLessThan(1e-4);
      expect(theirs.map((logits) => logits.indexOf(Math.max(...logits)))).toEqual(
        mine.map((logits) => logits.indexOf(Math.max(...logits))),
      );
    },
    300_000,
  );
});

/** Bitstreams in files, and a cloud that has not seen them. */
async function atTheFront(): Promise<{ address: string; files: string[] }> {
  const cloud = await startCloud({ bundle, workers: 1, listen: '127.0.0.1:0', maxPayloadBytes: 1 << 20 });
  onTestFinished(() => cloud.close());
  const folder = temporaryFolder();
  const files = payloads.slice(0, 3).map((payload, i) => {
    writeFileSync(join(folder, String(i)), payload);
    return join(folder, String(i));
  });
  return { address: cloud.address, files };
}

const argmax = (logits: ArrayLike<number>): number =>
  Array.from(logits).indexOf(Math.max(...Array.from(logits)));

test.skipIf(!triton)(
  `Triton's client at the front${missing('Triton', triton)}`,
  async () => {
    const { address, files } = await atTheFront();
    const output = await run(join(triton!, 'bin/python'), [
      join(here, 'triton_client.py'),
      address,
      MODEL,
      ...files,
    ]);
    const said = JSON.parse(output) as Record<string, unknown> & { classes: number[][]; logits: number[][] };
    const mine = (await logitsOf(await open())).slice(0, 3);
    const { version } = bundle.manifest;
    expect(said).toMatchObject({
      live: true,
      ready: true,
      modelReady: true,
      otherReady: false,
      server: { name: 'raccoon' },
      model: { name: MODEL, versions: [version], inputs: [{ name: 'bitstream', datatype: 'BYTES' }] },
      id: 'r-1',
      version,
      outputs: ['logits'],
      argmax: mine.map(argmax),
      unknownModel: 'StatusCode.NOT_FOUND',
      damaged: 'StatusCode.DATA_LOSS',
      noTime: 'StatusCode.DEADLINE_EXCEEDED',
    });
    expect(said.classes.map((top) => top.length)).toEqual([3, 3, 3]);
    expect(said.classes.map(([first]) => first)).toEqual(mine.map(argmax));
    for (const [i, logits] of mine.entries()) {
      for (const [k, logit] of logits.entries()) expect(said.logits[i]![k]).toBeCloseTo(logit, 3);
    }
  },
  180_000,
);

test.skipIf(!kserve)(
  `KServe's client at the front${missing('KServe', kserve)}`,
  async () => {
    const { address, files } = await atTheFront();
    const output = await run(join(kserve!, 'bin/python'), [
      join(here, 'kserve_client.py'),
      address,
      MODEL,
      ...files,
    ]);
    const said = JSON.parse(output.split('\n').find((line) => line.startsWith('{'))!) as Record<
      string,
      number[][]
    >;
    expect(said).toMatchObject({ id: 'r-2', ready: [true, true, true] });
    const mine = (await logitsOf(await open())).slice(0, 3);
    expect(said['classes']!.map(([first]) => first)).toEqual(mine.map(argmax));
  },
  180_000,
);

describe.each([
  ['KServe', kserve, 'kserve.protocol.grpc.grpc_predict_v2_pb2'],
  ['Triton', triton, 'tritonclient.grpc.service_pb2'],
])('the .proto of %s', (name, folder, module) => {
  // theirs may be older than the protocol, or newer; ours lacks nothing that they agree on, and contradicts neither
  test.skipIf(!folder)(`is ours, field by field${missing(name, folder)}`, async () => {
    const output = await run(join(folder!, 'bin/python'), [join(here, 'protocol.py'), module]);
    const { messages, services } = JSON.parse(output) as Contract;
    const lock = JSON.parse(readFileSync(join(root, 'proto/lock.json'), 'utf8')) as Contract;
    const ours = Object.entries(lock.messages).filter(([of]) => of.startsWith('inference.'));
    expect(ours).toHaveLength(18);
    for (const [of, fields] of ours) {
      const both = Object.keys(fields).filter((number) => messages[of]?.[number]);
      expect(both.length, of).toBeGreaterThanOrEqual(Math.min(3, Object.keys(fields).length));
      for (const number of both) expect({ [of]: messages[of]![number] }).toEqual({ [of]: fields[number] });
      expect(Object.keys(messages[of]!).length, of).toBeLessThanOrEqual(Object.keys(fields).length);
    }
    expect(services['inference.GRPCInferenceService']).toMatchObject(
      lock.services['inference.GRPCInferenceService']!,
    );
  });
});

interface Contract {
  readonly messages: Readonly<Record<string, Readonly<Record<string, object>>>>;
  readonly services: Readonly<Record<string, Readonly<Record<string, string>>>>;
}
