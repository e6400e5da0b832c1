import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeRac } from '@raccoon/codec';
import { connectGrpc } from '@raccoon/transport/node';
import { shipped, temporaryFolder } from '../helpers/payloads.mjs';
import { root } from '../helpers/report.mjs';
import { Service } from '../helpers/service.mjs';
import { median } from '../helpers/statistics.mjs';

export const about = `Clients that are not ours: grpcurl, ghz, and Python's grpcio with stubs made from the .proto.
grpcurl knows nothing but the address (reflection). The tools are made once, in the user's cache, from the Go proxy and PyPI.`;

export const options = {
  seconds: { default: 10, about: 'of each load' },
  rounds: { default: 3, about: 'of ghz and of ours, in turn' },
  concurrency: { default: 16, about: 'requests at any time, of both' },
  'allow-missing': { default: false, about: 'a tool that cannot be had is no failure' },
};

const TOOLS = {
  grpcurl: 'github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4',
  ghz: 'github.com/bojand/ghz/cmd/ghz@v0.93.0',
};
/** grpcio has the same version. */
const GRPCIO = '1.85.1';
const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'raccoon/tools');
const make = promisify(execFile);

export async function run(given, report) {
  const { folder, payloads } = await shipped();
  const service = await Service.start(['--bundle', folder, '--workers', '1']);
  const transport = connectGrpc(service.address);
  const [payload] = payloads;
  const ours = (await transport.inferOnce({ id: 1, payload, topK: 5 })).result.top;
  const context = { ...given, service, transport, folder, payload, ours, report };
  const missing = [];
  for (const [name, check] of Object.entries({ grpcurl: withGrpcurl, ghz: withGhz, grpcio: withPython })) {
    try {
      await check(context, await tool(name));
    } catch (error) {
      if (error instanceof Missing) {
        missing.push(name);
        report.note(`\n!!! ${name} cannot be had, so it has not been tried: ${error.message}\n`);
      } else {
        report.note(error.message);
        report.bar(`${name} gets to its end`, false, '=', true);
      }
    }
  }
  await transport.close();
  report.bar('exit code', await service.stop(), '=', 0);
  if (!given['allow-missing'])
    report.bar('tools that cannot be had', missing.join(', ') || 'none', '=', 'none');
}

async function withGrpcurl({ service, payload, ours, report }, grpcurl) {
  const ask = async (...args) => (await command(grpcurl, ['-plaintext', ...args])).trim();
  const services = (await ask(service.address, 'list')).split('\n');
  const described = await ask(service.address, 'describe', 'raccoon.v1.Raccoon');
  const message = await ask(service.address, 'describe', 'raccoon.v1.InferRequest');
  const health = JSON.parse(await ask('-d', '{}', service.address, 'grpc.health.v1.Health/Check'));
  const request = JSON.stringify({ id: 1, payload: base64(payload), top_k: 5 });
  const answer = JSON.parse(await ask('-d', request, service.address, 'raccoon.v1.Raccoon/InferOnce'));
  report.note(`grpcurl lists ${services.join(', ')}; health ${health.status}`);
  report.note(described);
  report.bar('grpcurl lists the service', services.includes('raccoon.v1.Raccoon'), '=', true);
  report.bar('grpcurl describes its methods', described.match(/\brpc \w+/g)?.join(' '), '=', RPCS);
  report.bar(
    'grpcurl describes a message as the .proto does',
    message.includes('uint32 top_k = 4;'),
    '=',
    true,
  );
  report.bar('grpcurl checks health', health.status, '=', 'SERVING');
  report.bar("grpcurl's results that differ from ours", differences(answer.result.top, ours), '=', 0);
}

const RPCS = 'rpc FetchFile rpc GetBundle rpc Infer rpc InferOnce';

async function withGhz({ seconds, rounds, concurrency, service, transport, payload, report }, ghz) {
  const args = [
    '--insecure',
    '--call=raccoon.v1.Raccoon.InferOnce',
    `--data=${JSON.stringify({ id: 1, payload: base64(payload), top_k: 5 })}`,
    `--concurrency=${concurrency}`,
    `--duration=${seconds}s`,
    '--duration-stop=wait',
    '--format=json',
    service.address,
  ];
  const rates = { ghz: [], ours: [] };
  const failed = { ghz: 0, ours: 0 };
  for (let round = 0; round < rounds; round++) {
    const said = JSON.parse(await command(ghz, args));
    rates.ghz.push(said.rps);
    failed.ghz += said.count - (said.statusCodeDistribution.OK ?? 0);
    rates.ours.push(await unaryRate(transport, payload, { seconds, concurrency }, () => failed.ours++));
  }
  report.table(
    `single calls per second at concurrency ${concurrency}, medians of ${rounds} rounds of ${seconds} s`,
    {
      ghz: { 'per second': median(rates.ghz), failed: failed.ghz },
      ours: { 'per second': median(rates.ours), failed: failed.ours },
    },
  );
  const ratio = median(rates.ours.map((rate, i) => rate / rates.ghz[i]));
  report.bar('difference of our load from that of ghz, percent', 100 * Math.abs(ratio - 1), '<=', 10);
  report.bar('calls that failed, of both', failed.ghz + failed.ours, '=', 0);
}

/** Answers per second, until the last one, as ghz counts with --duration-stop=wait. */
async function unaryRate(transport, payload, { seconds, concurrency }, onFailure) {
  const start = performance.now();
  let count = 0;
  const one = async () => {
    while (performance.now() - start < 1000 * seconds) {
      const { error } = await transport.inferOnce({ id: 1, payload, topK: 5 });
      if (error) onFailure(error);
      count++;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, one));
  return (1000 * count) / (performance.now() - start);
}

async function withPython({ service, payload, folder, report }, python) {
  const scratch = temporaryFolder();
  const file = join(scratch, 'photo.rac');
  writeFileSync(file, writeRac([payload]));
  const protoc = ['-m', 'grpc_tools.protoc', `-I${join(root, 'proto')}`, `--python_out=${scratch}`];
  await command(python, [...protoc, `--grpc_python_out=${scratch}`, 'raccoon/v1/raccoon.proto']);
  const client = join(import.meta.dirname, 'foreign-client.py');
  const env = { ...process.env, PYTHONPATH: scratch };
  const answered = JSON.parse(await command(python, [client, service.address, file], { env }));
  const decode = ['packages/cli/bin/raccoon.js', 'decode', file, '--bundle', folder, '--json'];
  const decoded = JSON.parse(await command(process.execPath, decode, { cwd: root }));
  report.note(`grpcio: ${answered.bundle} ${answered.version}, class ${answered.stream[0].index}`);
  for (const way of ['stream', 'single']) {
    const differ = differences(answered[way], decoded.top);
    report.bar(`classes of grpcio's ${way} call that differ from raccoon decode`, differ, '=', 0);
  }
}

/** Of two lists of class scores, whose floats went through different texts. */
function differences(a, b) {
  return b.filter(
    ({ index, probability }, i) =>
      (a[i]?.index ?? 0) !== index || Math.abs((a[i].probability ?? 0) - probability) > 1e-5,
  ).length;
}

class Missing extends Error {}

/** The program, made if it is not there. */
async function tool(name) {
  mkdirSync(cache, { recursive: true });
  try {
    if (name === 'grpcio') return await pythonWithGrpcio();
    const program = join(cache, 'bin', name);
    if (!existsSync(program)) {
      await make('go', ['install', TOOLS[name]], {
        cwd: cache,
        env: { ...process.env, GOBIN: join(cache, 'bin') },
      });
    }
    return program;
  } catch (error) {
    throw new Missing(error.stderr?.trim().split('\n').at(-1) || error.message, { cause: error });
  }
}

async function pythonWithGrpcio() {
  const folder = join(cache, `grpcio-${GRPCIO}`);
  const python = join(folder, 'bin/python');
  if (!existsSync(join(folder, 'complete'))) {
    await make('python3', ['-m', 'venv', folder]);
    const versions = [`grpcio==${GRPCIO}`, `grpcio-tools==${GRPCIO}`];
    await make(python, ['-m', 'pip', 'install', '--quiet', ...versions]);
    writeFileSync(join(folder, 'complete'), '');
  }
  return python;
}

async function command(program, args, settings = {}) {
  try {
    return (await make(program, args, { maxBuffer: 2 ** 28, ...settings })).stdout;
  } catch (error) {
    throw new Error(`${program} failed:\n${`${error.stdout}${error.stderr}`.slice(-500)}`, { cause: error });
  }
}

function base64(bytes) {
  return Buffer.from(bytes).toString('base64');
}
