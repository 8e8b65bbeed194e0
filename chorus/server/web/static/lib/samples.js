// The samples of the last minutes, and series of numbers made of them. No DOM here.

export const WINDOW_SECS = 15 * 60;
export const BIN_SECS = 5; // one point of a chart: 180 of them in a window

/** The newest samples, one for each second at most, oldest first. */
export class Samples {
  #samples = [];

  /** Takes samples in, and forgets those that have grown too old. */
  add(samples) {
    this.#samples.push(...samples);
    const oldest = this.now - WINDOW_SECS;
    const first = this.#samples.findIndex((sample) => sample.at > oldest);
    if (first > 0) this.#samples.splice(0, first);
  }

  clear() {
    this.#samples = [];
  }

  /** The time of the newest sample, in seconds since 1970. */
  get now() {
    return this.#samples.at(-1)?.at ?? 0;
  }

  get newest() {
    return this.#samples.at(-1) ?? null;
  }

  get all() {
    return this.#samples;
  }

  /**
   * Returns one number for each bin of the window, oldest first; null where nothing is known.
   * `of(sample)` is a number or null; `fold(numbers)` makes one of those of a bin.
   */
  series(of, fold) {
    const bins = Array.from({ length: WINDOW_SECS / BIN_SECS }, () => []);
    const end = Math.ceil(this.now / BIN_SECS) * BIN_SECS; // bins keep their samples as time goes on
    for (const sample of this.#samples) {
      const bin = bins.length - 1 - Math.floor((end - sample.at) / BIN_SECS);
      const number = of(sample);
      if (bin >= 0 && number !== null && number !== undefined) bins[bin].push(number);
    }
    return bins.map((numbers) => (numbers.length ? fold(numbers) : null));
  }

  /** Returns the sum over the window by model: {name, calls, errors, promptTokens, completionTokens, cost}. */
  models() {
    const totals = new Map();
    for (const sample of this.#samples) {
      for (const [name, counted] of Object.entries(sample.models)) {
        const total = totals.get(name) ?? { name, calls: 0, errors: 0, promptTokens: 0, completionTokens: 0, cost: null };
        total.calls += counted.calls;
        total.errors += counted.errors;
        total.promptTokens += counted.prompt_tokens;
        total.completionTokens += counted.completion_tokens;
        if (counted.cost !== null) total.cost = (total.cost ?? 0) + counted.cost;
        totals.set(name, total);
      }
    }
    return [...totals.values()].sort((one, other) => other.calls - one.calls || one.name.localeCompare(other.name));
  }

  /** Returns how often each error occurred in the window, most first: [code, count]. */
  errors() {
    const counts = new Map();
    for (const sample of this.#samples) {
      for (const [code, count] of Object.entries(sample.errors_by_code ?? {})) counts.set(code, (counts.get(code) ?? 0) + count);
    }
    return [...counts].sort((one, other) => other[1] - one[1]);
  }
}

export const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
export const mean = (numbers) => sum(numbers) / numbers.length;
export const most = (numbers) => Math.max(...numbers);

/** Returns the next round number at or above `number`, for the top of a scale: 1, 2, 5, 10, 20, … */
export function roundUp(number) {
  if (!(number > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].find((step) => step * power >= number * (1 - 1e-9)) * power;
}

/** Returns an SVG path through a series, with a gap where a number is null. One unit wide for each number. */
export function linePath(series, top, height) {
  let isOpen = false;
  let path = "";
  for (const [x, number] of series.entries()) {
    if (number === null) {
      isOpen = false;
      continue;
    }
    const y = (height - (Math.min(number, top) / top) * height).toFixed(2);
    path += isOpen ? `L${x + 0.5} ${y}` : `M${x + 0.5} ${y}h.01`; // a lone point is seen, too
    isOpen = true;
  }
  return path;
}

/** Returns an SVG path of bars from the ground. */
export function barPath(series, top, height) {
  let path = "";
  for (const [x, number] of series.entries()) {
    if (!number) continue;
    const y = (height - (Math.min(number, top) / top) * height).toFixed(2);
    path += `M${x + 0.1} ${height}V${y}h.8V${height}z`;
  }
  return path;
}
