// `npm run generate -w @raccoon/transport`: after an edit of proto/, make what is made from it.

import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as proto from './proto.mjs';

const contract = proto.parse(proto.readSources(), { keepCase: true });
const lock = existsSync(proto.lockFile)
  ? JSON.parse(readFileSync(proto.lockFile, 'utf8'))
  : proto.describe(contract);

const problems = proto.breakingChanges(lock, contract);
if (problems.length > 0) {
  console.error(`proto/ would break older peers:\n- ${problems.join('\n- ')}`);
  process.exit(1);
}

rmSync(proto.generatedDir, { recursive: true, force: true });
mkdirSync(proto.generatedDir, { recursive: true });
proto.writeTypes(proto.generatedDir);
writeFileSync(
  join(proto.generatedDir, 'descriptor.ts'),
  proto.renderDescriptor(proto.parse(proto.readSources())),
);
writeFileSync(proto.lockFile, `${JSON.stringify(proto.nextLock(lock, contract), null, 2)}\n`);
