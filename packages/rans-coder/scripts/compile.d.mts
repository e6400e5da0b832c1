/** The source of src/wasm/module.ts: assembly/ compiled, in base64. The same for the same sources and compiler. */
export function compile(): Promise<string>;
