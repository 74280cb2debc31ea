// How probabilities are written for people, as the service writes them.

/** Three decimals, four near the ends, and never what reads as certain. */
export function writeProbability(value) {
  for (const digits of [3, 4]) {
    const text = value.toFixed(digits);
    if (Number(text) > 0 && Number(text) < 1) return text;
  }
  return value < 0.5 ? "<0.0001" : ">0.9999";
}
