import type { Plot } from '../plot.ts';
import type { Analysis } from './analysis.ts';
import type { Figure, Report, Section } from './document.ts';
import { bpp, fixed, listed, macs, ms, range, signed, whole } from './format.ts';
import {
  bytesPlot,
  channelsPlot,
  deviceMsOf,
  edgeMacsOf,
  encodeMsOf,
  far,
  latencyBars,
  latencyOf,
  MOST_OF_SUBJECT,
  noisePlot,
  paretoPlot,
  pointsNearRates,
  publishedPlot,
  racPlot,
  rateAccuracyPlot,
} from './plots.ts';
import { isBaseline, isCurve, machineOf, type Series } from './series.ts';
import {
  bestBaselineTable,
  beyond,
  bytesTable,
  costTable,
  deltaTable,
  howOf,
  latencyTable,
  noiseTable,
  off,
  paretoTable,
  pointsTable,
  publishedTable,
  splitTable,
  verdictOf,
  versusTable,
} from './tables.ts';
import { RATES } from './versus.ts';

/** Puts into figures, tables and words what was found. */
export function report(analysis: Analysis): Report {
  const { bundle, data } = analysis.input.files[0]!.results;
  const names = new Set(analysis.input.files.map((file) => file.results.bundle.name));
  const sections = [
    summary(analysis),
    rateAndAccuracy(analysis),
    versus(analysis),
    complexity(analysis),
    pareto(analysis),
    bytes(analysis),
    latency(analysis),
    noise(analysis),
    published(analysis),
    environment(analysis),
  ];
  return {
    title:
      analysis.input.title ??
      `${[...names].join(', ')}${names.size > 1 ? '' : ` ${bundle.version}`} on ${data.name}`,
    sections: sections.filter((section) => section !== undefined),
  };
}

function summary(analysis: Analysis): Section {
  const { subject, others, series, own, differences, input } = analysis;
  const { data, bundle } = input.files[0]!.results;
  const seed = data.seed === null ? '' : ` (sample of seed ${data.seed})`;
  const list = RATES.flatMap((rate) => {
    const all = differences.filter(
      (one) =>
        one.rate === rate && one.subject === subject.name && others.some((other) => other.name === one.other),
    );
    const [first] = all;
    if (!first) return [];
    if (!first.subjectAt) return [`At ${rate} bpp ${subject.name} has nothing: ${beyond(subject, rate)}.`];
    const those = (verdict: ReturnType<typeof verdictOf>): string[] =>
      all
        .filter((one) => verdictOf(one) === verdict && one.otherAt)
        .map((one) => `${one.other}${off(one.otherAt!.bpp, rate)} (${signed(one.difference!.mean)})`);
    const without = others.filter((other) => all.some((one) => one.other === other.name && !one.otherAt));
    const tooLow = without.filter(({ points }) => points[0]!.row.payloadBpp > rate);
    const tooHigh = without.filter((other) => !tooLow.includes(other));
    const parts = [
      ...some('ahead of', those('ahead')),
      ...some('behind', those('behind')),
      ...some('not told apart from', those('even')),
    ];
    const unable = [
      ...(tooLow.length > 0 ? [`; ${listed(tooLow.map(({ name }) => name))} cannot go so low`] : []),
      ...(tooHigh.length > 0 ? [`; ${listed(tooHigh.map(({ name }) => name))} not measured so high`] : []),
    ].join('');
    const top1 = `${fixed(first.subjectAt.top1, 1)} % (${range(first.subjectAt)})`;
    return [
      `At ${rate} bpp${off(first.subjectAt.bpp, rate)} ${subject.name} has ${top1}${parts.length > 0 ? `: ${parts.join('; ')}` : ''}${unable}.`,
    ];
  });
  const unsplit = series.find(({ method }) => method === 'unsplit-edge');
  return {
    id: 'summary',
    title: 'What was found',
    text: [
      `${whole(data.images)} photos of ${data.name}${seed}, ${bundle.classes}-way; ${series.length} series, ${series.reduce((sum, of) => sum + of.points.length, 0)} points, on the same photos. Percent is top-1, differences are points of it, rates are bits per pixel of the network’s input. Numbers are measured unless they are labelled estimated, modelled or published.`,
      `The report is about ${subject.name}${input.subject === undefined && own.length > 1 ? ', of our encoders the most accurate at these rates (chosen after measuring; --subject chooses another)' : ''}.${unsplit ? ` The whole network on the edge, with nothing sent: ${fixed(unsplit.points[0]!.row.top1, 1)} %.` : ''}`,
      'Methods are compared at the same rates, on straight lines in ln bpp between their points. A number in [brackets] is the rate of the point that was taken where a curve begins or ends at most 15 % beside the rate. What sends nothing has the same at every rate.',
    ],
    list,
  };
}

function some(words: string, names: readonly string[]): string[] {
  return names.length > 0 ? [`${words} ${listed(names)}`] : [];
}

function rateAndAccuracy(analysis: Analysis): Section {
  const { subject, others, series } = analysis;
  const kin = series.filter(({ method }) => method === subject.method);
  const beside = [subject, ...others];
  const most = MOST_OF_SUBJECT * subject.points.at(-1)!.row.payloadBpp;
  const squeezed = beside.some(({ points }) => points.some(({ row }) => row.payloadBpp > most));
  const seeds = series.some(({ points }) => points.some(({ spread }) => spread));
  const bands = `bands are 95 % intervals${seeds ? ', and as wide as the seeds are apart' : ''}`;
  const level = others.some(({ method }) => method === 'unsplit-edge');
  const notes = [
    ...(level ? ['A level is a network that sends nothing.'] : []),
    ...(squeezed ? [`Points above ${fixed(most, 1)} bpp are in the table only.`] : []),
  ];
  const figures = [
    figure(
      'rate-accuracy',
      rateAccuracyPlot(`${subject.name} and what it is compared with`, beside, analysis),
      [`Top-1 over rate, measured; ${bands}.`, ...notes].join(' '),
      `Lines of top-1 over bits per pixel, one for each of ${listed(beside.map(({ name }) => name))}. ${endsOf(subject)}`,
    ),
  ];
  if (kin.length > 1) {
    figures.push(
      figure(
        'encoders',
        rateAccuracyPlot('All encoders of the kind', kin, analysis),
        `Top-1 over rate of each encoder, measured; ${bands}.`,
        `Lines of top-1 over bits per pixel, one for each of ${listed(kin.map(({ name }) => name))}. ${endsOf(subject)}`,
      ),
    );
  }
  return {
    id: 'rate-accuracy',
    title: 'Rate and accuracy',
    figures,
    tables: [pointsTable(analysis)],
  };
}

function endsOf({ name, points }: Series): string {
  const ends = [points[0]!.row, points.at(-1)!.row].map(
    (row) => `${fixed(row.top1, 1)} % at ${bpp(row.payloadBpp)} bpp`,
  );
  return `${name} goes from ${ends.join(' to ')}.`;
}

function versus(analysis: Analysis): Section | undefined {
  const { subject, others, own, series, subjectDeltas } = analysis;
  if (series.length === 1) return undefined;
  const tables = others.length > 0 ? [versusTable(analysis)] : [];
  if (own.length > 1 && series.some((of) => isBaseline(of) && isCurve(of))) {
    tables.push(bestBaselineTable(analysis));
  }
  if (subjectDeltas.length > 0) {
    tables.push(
      deltaTable(
        `${subject.name} against each curve that it has rates in common with, measured: Δ-accuracy in points of top-1 (monotone cubics), and bytes for the same accuracy (Bjøntegaard; fewer are negative). 95 % intervals by ${howOf(analysis)}.`,
        'against',
        subjectDeltas,
        ({ other }) => other,
      ),
    );
  }
  return {
    id: 'versus',
    title: 'Against each other',
    text: [
      ...(series.some((of) => isBaseline(of) && isCurve(of)) ? [] : [noCodec(series)]),
      ...(series.some(isImageCodec)
        ? [
            'Photos from image codecs go to the network as it was trained: it was not fine-tuned on compressed photos, which regains part of what they lose (arXiv 2304.04518).',
          ]
        : []),
      ...(subjectDeltas.length === 0 ? [noOverlap(analysis)] : []),
    ],
    tables,
  };
}

const isImageCodec = ({ method }: Series): boolean => /^(jpeg|webp|avif)$/.test(method);

function noCodec(series: readonly Series[]): string {
  return series.some(isImageCodec)
    ? 'No image codec was measured at several qualities: raccoon eval --baseline webp:10,20,40 does.'
    : 'There is no image codec to compare with: raccoon eval --baseline measures some on the same photos.';
}

function noOverlap({ subject, series }: Analysis): string {
  if (!isCurve(subject)) return `No Δ-accuracy: ${subject.name} was measured at one rate only. Measure more.`;
  const ranges = series.filter(isCurve).map(({ name, points }) => {
    const [low, high] = [points[0]!, points.at(-1)!].map(({ row }) => bpp(row.payloadBpp));
    return `${name} ${low} to ${high}`;
  });
  return `No Δ-accuracy: no curve has rates in common with ${subject.name}. Rates, bpp: ${ranges.join(', ')}. Measure more qualities or rates.`;
}

function complexity(analysis: Analysis): Section {
  const { anchor, commonRates, machine, series, anchorDeltas, input } = analysis;
  const over = commonRates ? `${bpp(commonRates.low)} to ${bpp(commonRates.high)} bpp` : '';
  const plots: [string, Plot | undefined, string][] = anchor
    ? [
        [
          'rac-time',
          racPlot(
            'Rate, accuracy, complexity: time',
            { title: 'encoding at the edge (ms)' },
            (of) => encodeMsOf(of, machine),
            analysis,
          ),
          `measured on ${machine}`,
        ],
        [
          'rac-macs',
          racPlot(
            'Rate, accuracy, complexity: work',
            { title: 'multiply-accumulates at the edge (million)' },
            (of) => (edgeMacsOf(of) ?? 0) / 1e6 || null,
            analysis,
          ),
          'counted; image codecs have none',
        ],
        ...(input.profiles ?? []).map((profile, i): [string, Plot | undefined, string] => {
          const { cpu, processors } = profile.device;
          return [
            `rac-device-${i + 1}`,
            racPlot(
              `Rate, accuracy, complexity: ${cpu}`,
              { title: 'encoding there (ms)' },
              (of) => deviceMsOf(of, profile),
              analysis,
            ),
            `measured by raccoon bench on ${cpu}, ${processors} processors`,
          ];
        }),
      ]
    : [];
  const figures: Figure[] = [];
  for (const [name, plot, how] of plots) {
    if (!plot) continue;
    figures.push(
      figure(
        name,
        plot,
        `Δ-accuracy against ${anchor!.name} (mean over ${over}), over what it takes, ${how}. Higher and further left is better; bars are 95 % intervals.`,
        `Points of Δ-accuracy over ${plot.x.title}: ${plot.series.map((of) => of.points[0]!.label ?? of.name).join('; ')}.`,
      ),
    );
  }
  const busy = series.filter((of) => unsteady(of, machine));
  const away = new Set(input.files.map(machineOf));
  away.delete(machine);
  return {
    id: 'complexity',
    title: 'Complexity',
    text: [
      ...(anchor ? [] : ['No plot of Δ-accuracy: there are no two curves that have rates in common.']),
      ...(away.size > 0
        ? [`Times of ${listed([...away])} are left out of what compares times: measure all on one machine.`]
        : []),
      ...(commonRates && commonRates.without.length > 0
        ? [
            `Without ${listed(commonRates.without.map(({ name }) => name))}: of ${over}, over which the others are compared, they have too little.`,
          ]
        : []),
      ...(busy.length > 0
        ? [
            `The machine was not quiet: one encoder took quite different times at different rates (${listed(busy.map(({ name }) => name))}). Accuracies and bytes do not depend on that; times here do.`,
          ]
        : []),
    ],
    figures,
    tables: [
      costTable(analysis),
      ...(anchor
        ? [
            deltaTable(
              `Each curve against ${anchor.name} over the same rates, ${over} (but for the bytes), measured; the plots above show the mean over bpp.`,
              'curve',
              anchorDeltas,
              ({ subject }) => subject,
            ),
          ]
        : []),
    ],
  };
}

/** A network does the same work at every rate: medians that differ by half and more are of other programs. */
function unsteady({ points }: Series, machine: string): boolean {
  const times = points.flatMap(({ row, machine: of }) =>
    row.edgeMacs && of === machine ? (row.encodeMs?.p50 ?? []) : [],
  );
  const alike = points.every(({ row }) => row.edgeMacs === points[0]!.row.edgeMacs);
  return alike && Math.max(...times) > 1.5 * Math.min(...times);
}

function pareto(analysis: Analysis): Section {
  const { paretoByMacs, paretoByTime, machine, series } = analysis;
  const sets = [
    {
      pareto: paretoByMacs,
      name: 'pareto-macs',
      text: macs,
      what: 'multiply-accumulates at the edge',
    },
    {
      pareto: paretoByTime,
      name: 'pareto-time',
      text: ms,
      what: `encoding time on ${machine}`,
    },
  ].filter((set) => set.pareto.length > 0);
  const count = series.reduce((sum, { points }) => sum + points.length, 0);
  return {
    id: 'pareto',
    title: 'Pareto set',
    text: [
      'Points that no other one is at least as good as in rate, top-1 and complexity at once. By what was measured on these photos: near points may change places on others.',
    ],
    figures: sets.map(({ pareto: set, name, what, text }) =>
      figure(
        name,
        paretoPlot(`Pareto set: ${what.split(' on ')[0]}`, set, text),
        `The ${set.length} of ${count} points in the Pareto set of rate, top-1 and ${what}; measured.`,
        `Points of top-1 over bits per pixel, of ${listed([...new Set(set.map((one) => one.series.name))])}.`,
      ),
    ),
    tables: [paretoTable(analysis)],
  };
}

function bytes({ subject, others, input }: Analysis): Section | undefined {
  const near = pointsNearRates(subject);
  const plot = bytesPlot(`Bytes of one photo, ${subject.name}`, near);
  const figures: Figure[] = [];
  if (plot) {
    figures.push(
      figure(
        'bytes',
        plot,
        `How many bytes single photos take, measured, at the points of ${subject.name} next to ${RATES.join(', ')} bpp.`,
        `Histograms of bytes over photos, of ${listed(near.map(({ row }) => `${row.point} with a mean of ${whole(row.bytesPerImage)} bytes`))}.`,
      ),
    );
  }
  const n = subject.points[0]!.row.settings['n'];
  const channels = input.bundle && channelsPlot(`Bits of each channel, n=${n}`, input.bundle, Number(n));
  if (channels) {
    figures.push(
      figure(
        'channels',
        channels,
        'Bits per image of each channel, estimated: the entropy of the distributions that the bundle codes it with.',
        `Steps of bits over the ${input.bundle!.manifest.latent.channels} channels, one line for each of ${channels.series.length} rates.`,
      ),
    );
  }
  const compared = [subject, ...others];
  const spread = bytesTable(
    compared.flatMap((of) => pointsNearRates(of).map((point) => ({ series: of, point }))),
  );
  const tables = [spread, splitTable(subject)].filter((table) => table !== undefined);
  return tables.length + figures.length > 0 ? { id: 'bytes', title: 'Bytes', figures, tables } : undefined;
}

function latency({ subject, series, machine }: Analysis): Section | undefined {
  const middle = RATES[2];
  const near = series.flatMap((of) => {
    const here = of.points.filter((point) => point.machine === machine);
    const [point] = here.toSorted((a, b) => far(a, middle) - far(b, middle));
    return point && latencyOf(point) ? [{ series: of, point }] : [];
  });
  if (near.length === 0) return undefined;
  const bars = near.map(({ series: of, point }) => ({ name: of.name, values: latencyOf(point)! }));
  // raw features take seconds on such a link: they are in the table, and would hide everything else here
  const sums = bars.map(({ values }) => values.reduce((sum, value) => sum + value, 0));
  const longest = 10 * (sums[near.findIndex((one) => one.series === subject)] ?? Infinity);
  const shown = bars.filter((_, i) => sums[i]! <= longest);
  return {
    id: 'latency',
    title: 'Where the time goes',
    figures: [
      {
        name: 'latency',
        plot: latencyBars(`One image at about ${middle} bpp`, shown),
        caption: `Each series’ point next to ${middle} bpp, on ${machine}; the link is estimated, the rest measured.${shown.length < bars.length ? ` What takes ten times as long as ${subject.name} is in the table only.` : ''}`,
        alt: `Stacked bars of time: ${shown.map(({ name, values }) => `${name} ${ms(values.reduce((sum, value) => sum + value, 0))} ms`).join(', ')}.`,
      },
    ],
    tables: [latencyTable(near)],
  };
}

function noise({ noise: curves }: Analysis): Section | undefined {
  if (curves.length === 0) return undefined;
  const ends = curves.map(({ name, levels }) => {
    const [first, last] = [levels[0]!, levels.at(-1)!];
    return `${name} from ${fixed(first.row.top1, 1)} % at ${first.sigma} to ${fixed(last.row.top1, 1)} % at ${last.sigma}`;
  });
  return {
    id: 'noise',
    title: 'Noise',
    text: [
      'The same photos as a poor camera gives them: at the network’s size, with Gaussian noise on every value, clipped to 8 bits. σ is its standard deviation on values from 0 to 1. No other section has such photos.',
    ],
    figures: [
      figure(
        'noise',
        noisePlot('Top-1 under noise', curves),
        'Top-1 over the noise’s standard deviation, measured; bands are 95 % intervals over the photos.',
        `Lines of top-1 over σ: ${ends.join('; ')}.`,
      ),
    ],
    tables: [noiseTable(curves)],
  };
}

function published({ input }: Analysis): Section | undefined {
  if (!input.published) return undefined;
  const { about, curves } = input.published;
  return {
    id: 'published',
    title: 'published, ImageNet-1k',
    text: [
      about,
      'These are other people’s numbers on other photos, copied and not measured here. They are not comparable with anything above, and stand in no table or plot with it.',
    ],
    figures: [
      figure(
        'published',
        publishedPlot(input.published),
        'Published rate-accuracy points; none of them is ours.',
        `Lines of published top-1 over bits per pixel: ${listed(curves.map(({ label }) => label))}.`,
      ),
    ],
    tables: [publishedTable(input.published)],
  };
}

function environment({ input }: Analysis): Section {
  const commands = new Set(input.files.map(({ results }) => results.command));
  return {
    id: 'environment',
    title: 'Environment and commands',
    code: [...commands, ...(input.command === undefined ? [] : [input.command])],
    tables: [
      {
        caption: 'The files that this report is made from.',
        head: ['file', 'measured at', 'network', 'processor', 'cores', 'threads', 'Node', 'Raccoon', 'rows'],
        rows: input.files.map(({ path, results: { createdAt, bundle, environment: of, rows } }) => [
          path,
          createdAt,
          `${bundle.name} ${bundle.version}`,
          of.cpu,
          String(of.cores),
          String(of.threads),
          of.node,
          of.raccoon,
          String(rows.length),
        ]),
        words: 4,
      },
    ],
  };
}
function figure(name: string, plot: Plot, caption: string, alt: string): Figure {
  return { name, plot, caption, alt };
}
