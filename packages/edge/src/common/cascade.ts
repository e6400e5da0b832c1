/** Whether the local exit's answer stands: its margin is above D0. From D0 = 1 on it never does. */
export function staysLocal(margin: number, threshold: number): boolean {
  return margin > threshold;
}

/**
 * Logits (K) of exit and cloud together, Z' = alpha * Z_cloud + Z_exit (EdgeCompress, Kong 2023, eq. 6.9).
 * Without `alpha` the cloud's alone.
 */
export function accumulate(
  exitLogits: Float32Array,
  cloudLogits: Float32Array,
  alpha: number | undefined,
): Float32Array {
  if (exitLogits.length !== cloudLogits.length) {
    throw new RangeError(`${exitLogits.length} logits of the exit, ${cloudLogits.length} of the cloud`);
  }
  if (alpha === undefined) return cloudLogits;
  return cloudLogits.map((logit, k) => alpha * logit + exitLogits[k]!);
}
