// The ways to classify a camera's photos that are compared: what each does, what the simulator shows it of the recording, what it gets right.
import { accumulate, createPolicy, localAnswer } from '@raccoon/edge';

/**
 * [{ name, fixed, policy(), estimates, view (links-simulator.mjs), rightAt: { edge, cloud }(outcome, image), points }]
 * @param times { edge: { `n=0`: [ms], ..., `JPEG 40`: [ms], ..., whole: [ms] }, cloud: [ms] }, of any photos
 */
export function rowsOf(manifest, tables, times, calibrations, limits) {
  const { labels, points, exits, jpegs, whole } = tables;
  const classes = manifest.classes.length;
  const images = labels.map((_, i) => i);
  const calibrationOf = (n) =>
    calibrations.find((one) => one.n === n && one.precision === 'float32') ?? { temperature: 1 };
  const exitOf = new Map(
    exits.map(({ n, logits }) => {
      const { temperature } = calibrationOf(n);
      const answers = images.map((i) => {
        const { top, confidence, margin } = localAnswer(
          logits.subarray(i * classes, (i + 1) * classes),
          temperature,
          1,
        );
        return { right: top[0] === labels[i], seen: { confidence, margin } };
      });
      return [n, answers];
    }),
  );
  const cloudOf = new Map(
    points.map((row) => {
      const { logits } = exits.find(({ n }) => n === row.n);
      const { alpha } = calibrationOf(row.n);
      const right = images.map((i) => {
        const top = row.top.subarray(60 * i, 60 * (i + 1));
        if (alpha === undefined) return top[0] === labels[i];
        return cascadeTop(top, logits.subarray(i * classes, (i + 1) * classes), alpha) === labels[i];
      });
      return [row.point, { ...row, right }];
    }),
  );
  const view = {
    cascade: calibrations.some(({ alpha }) => alpha !== undefined),
    encodeMs: ({ n }, image) => pick(times.edge[`n=${n}`], image),
    exit: ({ n }, image) => exitOf.get(n)[image].seen,
    bytes: (point, image) => cloudOf.get(point).bytes[image],
    cloudMs: (_, image) => pick(times.cloud, image),
    cloudConfidence: (point, image) => cloudOf.get(point).top[60 * image + 2],
  };
  const rightAt = {
    edge: ({ encoder }, image) => exitOf.get(encoder.n)[image].right,
    cloud: ({ action }, image) => cloudOf.get(action.point).right[image],
  };
  const settings = { manifest, limits, calibration: calibrations, precision: 'float32' };
  const auto = {
    name: 'auto',
    policy: () => createPolicy('auto', settings),
    estimates: true,
    view,
    rightAt,
    points: cloudOf,
  };
  const fixed = points.flatMap(({ n, q }) => {
    const row = {
      policy: () => createPolicy('fixed', { ...settings, blocks: n, rate: q }),
      estimates: false,
      rightAt,
      points: cloudOf,
    };
    return [
      { ...row, name: `n=${n} q=${q}`, fixed: true, view },
      {
        ...row,
        name: `n=${n} q=${q}, no fallback`,
        fixed: true,
        view: { ...view, exit: () => undefined, cascade: false },
        rightAt: { cloud: ({ action }, i) => cloudOf.get(action.point).top[60 * i] === labels[i] },
      },
    ];
  });
  const toCloud = jpegs.map((row) => ({
    name: `JPEG ${row.quality}, whole network in the cloud`,
    policy: () => bare({}, { kind: 'send', point: row.quality }),
    estimates: false,
    view: {
      encodeMs: (_, i) => pick(times.edge[`JPEG ${row.quality}`], i),
      exit: () => undefined,
      bytes: (_, i) => row.bytes[i],
      cloudMs: view.cloudMs,
      cloudConfidence: () => 0,
    },
    rightAt: { cloud: (_, i) => row.top[i] === labels[i] },
  }));
  const deepest = Math.max(...exits.map(({ n }) => n));
  const onEdge = [
    {
      name: `local exit only, n=${deepest}`,
      policy: () => bare({ n: deepest }, { kind: 'local', degraded: false }),
      estimates: false,
      view,
      rightAt,
    },
    {
      name: 'whole network on the edge',
      policy: () => bare({}, { kind: 'local', degraded: false }),
      estimates: false,
      view: { ...view, encodeMs: (_, i) => pick(times.edge.whole, i), exit: () => ({}) },
      rightAt: { edge: (_, i) => whole.top[i] === labels[i] },
    },
  ];
  return [auto, ...fixed, ...toCloud, ...onEdge];
}

/** Always the same. */
const bare = (encoder, action) => ({
  chooseEncoder: () => encoder,
  chooseAction: () => action,
  observe: () => undefined,
});

const pick = (values, image) => values[image % values.length];

/** The first class of alpha * Z_cloud + Z_exit. What the cloud's other classes have is spread evenly, as the client does. */
function cascadeTop(top, exitLogits, alpha) {
  const [, firstLogit, firstProbability] = top;
  let given = 0;
  for (let k = 2; k < 60; k += 3) given += top[k];
  const share = Math.max(1 - given, 1e-6) / (exitLogits.length - 20);
  const cloudLogits = new Float32Array(exitLogits.length).fill(
    firstLogit + Math.log(share / firstProbability),
  );
  for (let k = 0; k < 60; k += 3) cloudLogits[top[k]] = top[k + 1];
  const sum = accumulate(exitLogits, cloudLogits, alpha);
  let best = 0;
  for (let k = 1; k < sum.length; k++) if (sum[k] > sum[best]) best = k;
  return best;
}
