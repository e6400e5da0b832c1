// npm run faults -- <name> [options]: what the cloud service survives (README.md).
import { runScript } from '../helpers/run-script.mjs';

await runScript(import.meta.dirname);
