/** A linear congruential generator (Numerical Recipes), in [0, 1): the same numbers for a seed on every machine. */
export function random(seed) {
  let state = seed >>> 0;
  return () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
}
