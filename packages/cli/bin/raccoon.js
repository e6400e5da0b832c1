#!/usr/bin/env node
// Committed, unlike dist/: npm links it at install, before anything is built.

// gRPC would write what goes wrong to stderr, too; the command says it once
process.env.GRPC_VERBOSITY ??= 'NONE';
await import('../dist/main.js');
