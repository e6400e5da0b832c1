// node test/infra/infra.mjs <name> [options]: what replicas behind a real balancer survive.
import { runScript } from '../helpers/run-script.mjs';

await runScript(import.meta.dirname);
