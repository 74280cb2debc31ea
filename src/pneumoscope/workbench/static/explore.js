// The threshold explorer: one threshold, and everything that follows from it. Changes nothing.

import { request, showError } from "./api.js";
import { writeProbability } from "./probability.js";

const PAUSE = 100;
const find = (id) => document.getElementById(id);
const slider = find("threshold");
const prevalence = find("prevalence");
/** Each marker, and where its drawing lies: left, top, side, and how much of both axes it shows. */
const markers = [...document.querySelectorAll("#roc .here")].map((marker) => ({
  marker,
  plot: marker.dataset.plot.split(" ").map(Number),
}));

let rows = [];
let today = [];
let threshold = Number(slider.dataset.decides);

const percent = (share, digits = 1) => (Number.isFinite(share) ? `${(100 * share).toFixed(digits)} %` : "–");

/** The row that calls the same images: the first score at or above the threshold. */
function findRow() {
  const place = rows.findIndex((row) => row.threshold >= threshold);
  return place < 0 ? rows.length - 1 : place;
}

function show() {
  const row = rows[findRow()];
  const sensitivity = row.tp / (row.tp + row.fn);
  const specificity = row.tn / (row.tn + row.fp);
  find("threshold-value").textContent = writeProbability(threshold);
  slider.setAttribute("aria-valuetext", writeProbability(threshold));
  const { sensitivity_low, sensitivity_high, specificity_low, specificity_high } = row;
  tell("sensitivity", sensitivity, [sensitivity_low, sensitivity_high], `${row.fn} of ${row.tp + row.fn} missed`);
  tell("specificity", specificity, [specificity_low, specificity_high], `${row.fp} of ${row.tn + row.fp} flagged in vain`);
  for (const { marker, plot } of markers) {
    const [left, top, side, span] = plot;
    marker.setAttribute("cx", left + ((1 - specificity) / span) * side);
    marker.setAttribute("cy", top + ((1 - sensitivity) / span) * side);
  }
  for (const button of document.querySelectorAll("button[data-threshold]")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.threshold) === threshold));
  }
  askSoon();
  const flagged = today.filter((probability) => probability >= threshold).length;
  find("today").textContent = today.length
    ? `Of the last 24 hours, ${flagged.toLocaleString("en")} of ${today.length.toLocaleString("en")} answered images would be flagged.`
    : "No image of the last 24 hours has an answer.";
}

function tell(name, value, interval, words) {
  const parts = [interval && interval.map((end) => percent(end)).join(" to "), words];
  find(name).textContent = percent(value);
  find(`${name}-more`).textContent = parts.filter(Boolean).join("; ");
}

let due = 0;
let asking = null;

/** Have said what the threshold means where so many people are ill; a slider's steps are gathered. */
function askSoon() {
  find("prevalence-value").textContent = `${prevalence.value} %`;
  find("at-prevalence").setAttribute("aria-busy", "true");
  asking?.abort();
  clearTimeout(due);
  due = setTimeout(ask, PAUSE);
}

async function ask() {
  asking = new AbortController();
  const { signal } = asking;
  const query = new URLSearchParams({ threshold, prevalence: prevalence.value / 100 });
  try {
    showPeople(await (await request(`/explore/people?${query}`, { signal })).json());
  } catch (error) {
    if (error.name === "AbortError") return;
    for (const name of ["ppv", "npv"]) tell(name, null, null);
    showError(find("people"), error);
  }
  find("at-prevalence").removeAttribute("aria-busy");
}

function showPeople({ sick, ppv, npv, missed, flagged_in_vain: vain, intervals }) {
  tell("ppv", ppv, intervals.ppv);
  tell("npv", npv, intervals.npv);
  const count = (part) => Math.round(part).toLocaleString("en");
  find("people").textContent =
    `Of 1,000 such people ${count(sick - missed + vain)} would be flagged, ${count(vain)} of them in vain; ` +
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
prevalence.addEventListener("input", askSoon);
for (const button of document.querySelectorAll("button[data-threshold]")) {
  button.addEventListener("click", () => choose(Number(button.dataset.threshold)));
}
start().catch((error) => showError(find("today"), error));
