/** The source of wasm/module.ts of the package in packages/<name> (default: rans-coder): its assembly/ compiled, in base64. */
export function compile(name?: string): Promise<string>;
