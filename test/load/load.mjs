// npm run load -- <name> [options]: what the cloud service sustains (README.md).
import { runScript } from '../helpers/run-script.mjs';

await runScript(import.meta.dirname);
