// Everything that is made from proto/: types, the descriptor that ships in the package, and the lock.

import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const loader = require.resolve('@grpc/proto-loader');
const protobuf = createRequire(loader)('protobufjs'); // the parser that proto-loader itself uses
const typesGenerator = join(loader, '../../bin/proto-loader-gen-types.js');

export const protoDir = fileURLToPath(new URL('../../../proto', import.meta.url));
export const lockFile = join(protoDir, 'lock.json');
export const generatedDir = fileURLToPath(new URL('../src/generated', import.meta.url));

/** Every file below `dir`, relative to it, sorted. */
export function filesBelow(dir) {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(dir, join(entry.parentPath, entry.name)))
    .toSorted();
}

/** The .proto files below `dir`. */
function protoFiles(dir) {
  return filesBelow(dir).filter((name) => name.endsWith('.proto'));
}

/** Parse the sources of the .proto files. */
export function parse(sources, options = {}) {
  const root = new protobuf.Root();
  for (const source of sources) protobuf.parse(source, root, options);
  return root.resolveAll();
}

/** The sources of every .proto file below `dir`. */
export function readSources(dir = protoDir) {
  return protoFiles(dir).map((name) => readFileSync(join(dir, name), 'utf8'));
}

/** What peers rely on: message -> field number -> name and type; service -> method -> signature. */
export function describe(root) {
  const contract = { messages: {}, services: {} };
  visit(root, (object) => {
    const name = object.fullName.slice(1);
    if (object instanceof protobuf.Type) contract.messages[name] = describeFields(object);
    if (object instanceof protobuf.Service) contract.services[name] = describeMethods(object);
  });
  return contract;
}

function visit(namespace, callback) {
  for (const object of namespace.nestedArray) {
    callback(object);
    if (object instanceof protobuf.Namespace) visit(object, callback);
  }
}

function describeFields(type) {
  const fields = {};
  for (const field of type.fieldsArray) {
    const of = field.resolvedType ? field.resolvedType.fullName.slice(1) : field.type;
    const oneof = field.partOf ? { oneof: field.partOf.name } : {};
    const many = field.map ? `map<${field.keyType}, ${of}>` : `repeated ${of}`;
    fields[field.id] = { name: field.name, type: field.map || field.repeated ? many : of, ...oneof };
  }
  return fields;
}

function describeMethods(service) {
  const methods = {};
  for (const method of service.methodsArray) {
    const request = `${method.requestStream ? 'stream ' : ''}${method.requestType}`;
    const response = `${method.responseStream ? 'stream ' : ''}${method.responseType}`;
    methods[method.name] = `${request} -> ${response}`;
  }
  return methods;
}

/** What in `root` an older peer would misread, as sentences; nothing when all is well. */
export function breakingChanges(lock, root) {
  const now = describe(root);
  const problems = [];
  for (const [message, fields] of Object.entries(lock.messages)) {
    if (!now.messages[message]) {
      problems.push(`message ${message} is gone`);
      continue;
    }
    const type = root.lookupType(message);
    for (const [id, field] of Object.entries(fields)) {
      const current = now.messages[message][id];
      const reserved = isReserved(type, Number(id), field.name);
      if (!current && !reserved) {
        problems.push(`${message}.${field.name} = ${id} is gone: reserve its number and its name`);
      } else if (current && !same(current, field)) {
        problems.push(`${message} field ${id} was ${show(field)} and is ${show(current)}: take a new number`);
      }
    }
  }
  for (const [service, methods] of Object.entries(lock.services)) {
    for (const [method, signature] of Object.entries(methods)) {
      const current = now.services[service]?.[method];
      if (current !== signature) {
        problems.push(`method ${service}.${method} was (${signature}) and is (${current ?? 'gone'})`);
      }
    }
  }
  return problems;
}

/** protobufjs's own check takes the end of a range as excluded, its parser as included. */
function isReserved(type, id, name) {
  const reserved = type.reserved ?? [];
  return (
    reserved.includes(name) &&
    reserved.some((range) => Array.isArray(range) && range[0] <= id && id <= range[1])
  );
}

const show = (field) => `${field.type} ${field.name}${field.oneof ? ` of ${field.oneof}` : ''}`;
const same = (a, b) => show(a) === show(b);

/** The lock after `root`: all that is there now, and the removed fields, which stay remembered for good. */
export function nextLock(lock, root) {
  const next = describe(root);
  for (const [message, fields] of Object.entries(lock.messages)) {
    next.messages[message] = { ...fields, ...next.messages[message] };
  }
  return next;
}

/** The descriptor as a TypeScript module, so that an installed package reads no file outside itself. */
export function renderDescriptor(root) {
  return `// Made by \`npm run generate -w @raccoon/transport\` from proto/. Do not edit.

import type { fromJSON } from '@grpc/proto-loader';

type Descriptor = Parameters<typeof fromJSON>[0];

// protobufjs's own types know no maps here
export const descriptor: Descriptor = ${JSON.stringify(root.toJSON(), withComment, 2)} as Descriptor;
`;
}

/** protobufjs declares a method's comment as required. */
function withComment(_key, value) {
  return value?.requestType ? { ...value, comment: '' } : value;
}

/** Write the message types below `outDir`. */
export function writeTypes(outDir, dir = protoDir) {
  const shape = ['--longs', 'Number', '--defaults', '--oneofs'];
  const names = [
    '--inputTemplate',
    '%sInput',
    '--outputTemplate',
    '%sOutput',
    '--importFileExtension',
    '.ts',
  ];
  const where = ['--includeDirs', '.', '--outDir', outDir];
  // Run inside `dir`, because the files name their source by its path from there.
  execFileSync(process.execPath, [typesGenerator, ...shape, ...names, ...where, ...protoFiles(dir)], {
    cwd: dir,
  });
}
