// From values to places on a plot.

const MOST_TICKS = 6;

/**
 * Returns a scale from `values` to `start`…`end`: `at(value)`, and round numbers as `ticks`. It is logarithmic
 * where the largest is over 20 times the smallest, unless `isLinear`.
 */
export function scale(values, start, end, isLinear = false) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const isLog = !isLinear && least > 0 && most > 20 * least;
  const onto = isLog ? Math.log : (value) => value;
  const back = isLog ? Math.exp : (value) => value;
  const room = 0.04 * (onto(most) - onto(least)) || 0.05 * Math.abs(least) || 0.05;
  const [low, high] = [onto(least) - room, onto(most) + room];
  const at = (value) => start + ((end - start) * (onto(value) - low)) / (high - low);
  return { at, ticks: isLog ? decades(back(low), back(high)) : steps(low, high) };
}

/** The multiples of the smallest of 1, 2 and 5 times a power of ten that are few enough. */
function steps(low, high) {
  const power = 10 ** Math.floor(Math.log10((high - low) / MOST_TICKS));
  const step = power * [1, 2, 5, 10].find((factor) => (high - low) / (power * factor) <= MOST_TICKS);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, at) => (first + at) * step);
}

/** Powers of ten, with 2 and 5 times each where that is few enough; every second one and so on of many. */
function decades(low, high) {
  const powers = Array.from({ length: 40 }, (_, at) => at - 20).flatMap((power) => [1, 2, 5].map((factor) => factor * 10 ** power));
  const inside = powers.filter((value) => value >= low && value <= high);
  const every = inside.length <= MOST_TICKS ? 1 : 3 * Math.ceil(inside.length / 3 / MOST_TICKS);
  const first = every > 1 ? inside.findIndex((value) => Number.isInteger(Math.log10(value))) : 0;
  return inside.slice(Math.max(first, 0)).filter((_, at) => at % every === 0);
}
