// The viewer: wires tools, keys and gestures to one stage, or to two side by side.

import { refreshAnswer } from "./answer.js";
import { request } from "./api.js";
import { prepareDeletion } from "./deletion.js";
import { openDrafts } from "./drafts.js";
import { bindGestures } from "./gestures.js";
import { bindKeys } from "./keys.js";
import { watchStudies } from "./live.js";
import { prepareMap } from "./map.js";
import { followReadings, prepareReading } from "./reading.js";
import { Stage } from "./stage.js";

const study = document.getElementById("study");
const { id } = study.dataset;
const drafts = openDrafts(study.dataset.reader);
const main = new Stage(document.getElementById("stage"));
const prior = new Stage(document.getElementById("prior"));
const stages = [main, prior];
let map = prepareMap(main, study.dataset.prediction);
const find = (name) => document.getElementById(name);

/** What is done to one image is done to the other: the eye compares like with like. */
function share(from) {
  for (const stage of stages) if (stage !== from) stage.viewport.change({ ...from.viewport.view });
}

function each(act) {
  act(main.viewport);
  share(main);
}

function eachStage(act) {
  for (const stage of stages) act(stage);
  showWindow();
}

function showWindow() {
  const { level, width } = main.shares;
  find("width").value = 100 * width;
  find("level").value = 100 * level;
  find("invert").setAttribute("aria-pressed", String(main.inverted));
}

/** Pixels of the page to the right widen the window, pixels down raise its level. */
function shiftWindow(dx, dy) {
  eachStage((stage) => stage.changeWindow({ factor: Math.exp(dx / 200), shift: dy / 300 }));
}

/** Bring the window of the main image to these shares, and change the other alike. */
function slide({ level, width }) {
  const now = main.shares;
  const shift = ((level ?? now.level) - now.level) / now.width;
  eachStage((stage) => stage.changeWindow({ factor: (width ?? now.width) / now.width, shift }));
}

function fitWindows() {
  eachStage((stage) => stage.fitWindow());
}

function reset() {
  each((viewport) => viewport.change({ zoom: 1, x: 0.5, y: 0.5, turns: 0 }));
  eachStage((stage) => stage.reset());
}

function invert() {
  const inverted = !main.inverted;
  eachStage((stage) => {
    stage.inverted = inverted;
  });
}

for (const stage of stages) {
  bindGestures(stage.viewport.canvas, {
    move: (dx, dy) => {
      stage.viewport.moveBy(dx, dy);
      share(stage);
    },
    zoom: (factor, place) => {
      stage.viewport.zoomBy(factor, place);
      share(stage);
    },
    window: shiftWindow,
  });
}

const tools = {
  in: () => each((viewport) => viewport.zoomBy(1.25)),
  out: () => each((viewport) => viewport.zoomBy(0.8)),
  fit: () => each((viewport) => viewport.change({ zoom: 1, x: 0.5, y: 0.5 })),
  actual: () => each((viewport) => viewport.zoomBy(1 / viewport.scale)),
  turn: () => each((viewport) => viewport.turn()),
  auto: fitWindows,
  invert,
  reset,
};
for (const [name, act] of Object.entries(tools)) find(name).addEventListener("click", act);
find("width").addEventListener("input", ({ target }) => slide({ width: target.value / 100 }));
find("level").addEventListener("input", ({ target }) => slide({ level: target.value / 100 }));

// -- a prior study beside it ------------------------------------------------------------------

const priors = [...document.querySelectorAll("button.prior")];

function compare(button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  for (const other of priors) {
    other.setAttribute("aria-pressed", String(on && other === button));
    other.querySelector(".act").textContent = on && other === button ? "Close" : "Compare";
  }
  find("stages").classList.toggle("two", on);
  if (!on) {
    prior.close();
    return;
  }
  prior.inverted = main.inverted;
  const when = button.querySelector("b").textContent;
  prior.name(`Same patient, ${when}: ${button.dataset.name}`);
  prior.open(button.dataset.id).then(() => share(main));
}

for (const button of priors) button.addEventListener("click", () => compare(button));

// -- keys -------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

function push(event) {
  const [x, y] = ARROWS[event.key];
  if (event.shiftKey) shiftWindow(-12 * x, -12 * y);
  else each((viewport) => viewport.moveBy(40 * x, 40 * y));
}

function go(link) {
  if (link) location.assign(link.href);
}

const releaseKeys = bindKeys({
  ...prepareReading({ study, drafts, onGone: showDeleted }),
  ...Object.fromEntries(Object.keys(ARROWS).map((key) => [key, push])),
  j: () => go(find("next")),
  k: () => go(find("previous")),
  "+": tools.in,
  "=": tools.in,
  "-": tools.out,
  0: tools.fit,
  9: tools.actual,
  r: tools.turn,
  i: invert,
  w: tools.auto,
  Backspace: reset,
  h: () => map.toggle(),
  "[": () => map.fade(-10),
  "]": () => map.fade(10),
  s: () => priors.length && compare(priors.find((b) => b.getAttribute("aria-pressed") === "true") ?? priors[0]),
});

// -- what becomes of the study meanwhile --------------------------------------------------------

let following = Promise.resolve();

/** Look what is new; one after the other, so that an older page never comes after a newer one. */
function follow() {
  following = following.then(followStudy);
}

/** Show an answer that arrived, what others read, or that there is no study any more. */
async function followStudy() {
  if (!study.isConnected) return;
  try {
    const now = await (await request(`/api/v1/studies/${id}`)).json();
    const { state, prediction } = study.dataset;
    if (now.state !== state || (now.prediction ?? "") !== prediction) await showAnswer();
    await followReadings(id);
  } catch (error) {
    if (error.status === 404) showDeleted();
    // Anything else: the page stays as it is until the next event.
  }
}

async function showAnswer() {
  await refreshAnswer(study);
  map = prepareMap(main, study.dataset.prediction);
  find("reading").dispatchEvent(new Event("input"));
  if (study.dataset.status === "error") showUnreadable();
}

function showUnreadable() {
  main.close();
  main.say(document.querySelector(".finding .message").textContent);
  document.querySelector(".toolbar").hidden = !priors.length;
  for (const choice of document.querySelectorAll("#reading input:not([value=comment])")) {
    choice.disabled = true;
  }
}

function showDeleted() {
  if (!study.isConnected) return;
  drafts.drop(id);
  releaseKeys();
  for (const stage of stages) stage.close();
  document.title = "Deleted – Pneumoscope";
  study.replaceWith(find("deleted").content);
}

main.name(study.dataset.title);
if (study.dataset.status === "error") showUnreadable();
else main.open(id).then(showWindow);
prepareDeletion({ id, onGone: showDeleted });
watchStudies({ onStudy: (changed) => changed === id && follow(), onReturn: follow });
