// npm run bench -w @raccoon/rans-coder [-- --no-peers]: speed of every engine beside the native peers, the time that tables
// take, and what the choice of renormalisation costs. Numbers compare within one run on a quiet machine; no test looks.
import { availableParallelism, cpus, loadavg } from 'node:os';
import { benchCoder } from './coder.mjs';
import { benchRenormalisation } from './renormalisation.mjs';
import { benchTables } from './tables.mjs';

console.log(
  `${cpus()[0].model}, ${availableParallelism()} processors, Node ${process.versions.node}, load ${loadavg()[0].toFixed(1)}`,
);
await benchCoder({ peers: !process.argv.includes('--no-peers') });
benchTables();
benchRenormalisation();
