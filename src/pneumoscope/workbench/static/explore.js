// The threshold explorer: one threshold, and everything that follows from it. Changes nothing.

import { request } from "./api.js";

const find = (id) => document.getElementById(id);
const slider = find("threshold");
const prevalence = find("prevalence");
const here = find("here");
const [left, top, side] = find("roc").dataset.plot.split(" ").map(Number);

let rows = [];
let today = [];
let threshold = Number(slider.dataset.decides);

const percent = (share, digits = 1) => (Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : "–");

/** As the service writes probabilities: never what reads as certain. */
function write(probability) {
  for (const digits of [3, 4]) {
    const text = probability.toFixed(digits);
    if (Number(text) > 0 && Number(text) < 1) return text;
  }
  return probability < 0.5 ? "<0.0001" : ">0.9999";
}

/** The row that calls the same images: the first score at or above the threshold. */
function findRow() {
  const place = rows.findIndex((row) => row.threshold >= threshold);
  return place < 0 ? rows.length - 1 : place;
}

function show() {
  const row = rows[findRow()];
  const sensitivity = row.tp / (row.tp + row.fn);
  const specificity = row.tn / (row.tn + row.fp);
  find("threshold-value").textContent = write(threshold);
  slider.setAttribute("aria-valuetext", write(threshold));
  tell("sensitivity", sensitivity, row.sensitivity_low, row.sensitivity_high, `${row.fn} of ${row.tp + row.fn} missed`);
  tell("specificity", specificity, row.specificity_low, row.specificity_high, `${row.fp} of ${row.tn + row.fp} flagged in vain`);
  here.setAttribute("cx", left + (1 - specificity) * side);
  here.setAttribute("cy", top + (1 - sensitivity) * side);
  for (const button of document.querySelectorAll("button[data-threshold]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.threshold) === threshold));
  }
  showPeople(sensitivity, specificity);
  const flagged = today.filter((probability) => probability >= threshold).length;
  find("today").textContent = today.length
    ? `Of the ${today.length.toLocaleString("en")} images answered of the last 24 hours, ${flagged.toLocaleString("en")} would be flagged.`
    : "No image of the last 24 hours has an answer.";
}

function tell(name, value, low, high, words) {
  find(name).textContent = percent(value);
  find(`${name}-more`).textContent = `${percent(low)} to ${percent(high)}; ${words}`;
}

/** Bayes' rule, for people like those of the calibration part. */
function showPeople(sensitivity, specificity) {
  const share = prevalence.value / 100;
  const found = sensitivity * share;
  const missed = (1 - sensitivity) * share;
  const cleared = specificity * (1 - share);
  const alarmed = (1 - specificity) * (1 - share);
  find("prevalence-value").textContent = `${prevalence.value} %`;
  find("ppv").textContent = percent(found / (found + alarmed));
  find("npv").textContent = percent(cleared / (cleared + missed));
  const count = (part) => Math.round(1000 * part).toLocaleString("en");
  find("people").textContent =
    `Of 1,000 such people ${count(found + alarmed)} would be flagged, ${count(alarmed)} of them in vain; ` +
    `${count(missed)} pneumonias would be missed.`;
}

function choose(value) {
  threshold = value;
  slider.value = findRow();
  show();
}

async function start() {
  const data = await (await request("/explore/data")).json();
  today = data.today;
  rows = data.rows.map((row) => Object.fromEntries(data.columns.map((name, k) => [name, row[k]])));
  slider.max = rows.length - 1;
  slider.disabled = false;
  choose(threshold);
}

slider.addEventListener("input", () => {
  threshold = rows[slider.value].threshold;
  show();
});
prevalence.addEventListener("input", show);
for (const button of document.querySelectorAll("button[data-threshold]")) {
  button.addEventListener("click", () => choose(Number(button.dataset.threshold)));
}
start().catch((error) => {
  find("today").textContent = error.message;
});
