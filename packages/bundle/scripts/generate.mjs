// `npm run generate -w @raccoon/bundle`: writes manifest.schema.json after an edit of src/manifest.ts.

import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { manifestJsonSchema } from '../dist/index.js';

const file = fileURLToPath(new URL('../manifest.schema.json', import.meta.url));
const options = { ...(await resolveConfig(file)), filepath: file };
writeFileSync(file, await format(JSON.stringify(manifestJsonSchema()), options));
