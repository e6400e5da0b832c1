// The entropy coder beside the native peers; it has its bench in its package: npm run bench -w @raccoon/rans-coder.
import '../packages/rans-coder/bench/index.mjs';
