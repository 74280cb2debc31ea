// The upload page: a row for each file, two on their way at a time, decisions as they arrive.

import { request, showError } from "./api.js";
import { listDropped } from "./dropped.js";
import { bindKeys } from "./keys.js";
import { watchStudies } from "./live.js";
import { writeProbability } from "./probability.js";
import { sendFile } from "./sending.js";

const AT_ONCE = 2;
const PAUSE = 3000;
const MARKS = { PNEUMONIA: "▲", REFER: "◆", NORMAL: "○", REJECTED: "✕" };

const drop = document.getElementById("drop");
const rows = document.getElementById("rows");
const sum = document.getElementById("sum");

const waiting = [];
/** Study id → the places in which it is shown. */
const shown = new Map();
let sending = 0;

/** Send files, `{file, path}`; those that are hidden in their folder stay. */
function add(files) {
  const visible = files.filter(({ file }) => !file.name.startsWith("."));
  if (!visible.length) return;
  document.getElementById("progress").hidden = false;
  const facts = {
    patient: document.getElementById("patient").value.trim(),
    taken_on: document.getElementById("taken-on").value,
  };
  const fragment = document.createDocumentFragment();
  for (const { file, path } of visible) {
    const row = makeRow(path);
    waiting.push({ file, facts, row });
    fragment.append(row.element);
  }
  rows.append(fragment);
  work();
}

function makeRow(path) {
  const element = document.getElementById("row").content.firstElementChild.cloneNode(true);
  element.querySelector(".name").textContent = path;
  const row = {
    element,
    bar: element.querySelector("progress"),
    said: element.querySelector(".said"),
    retry: element.querySelector(".retry"),
    more: element.querySelector(".more"),
  };
  setState(row, "queued", "waiting");
  return row;
}

function setState(row, state, text) {
  row.element.dataset.state = state;
  row.said.textContent = text;
  row.retry.hidden = state !== "failed";
  row.bar.hidden = state === "failed" || state === "done";
  countUp();
}

let counting = false;
function countUp() {
  if (counting) return;
  counting = true;
  requestAnimationFrame(() => {
    counting = false;
    const all = [...rows.children];
    const count = (state) => all.filter((row) => row.dataset.state === state).length;
    const unreadable = all.reduce((total, row) => total + Number(row.dataset.unreadable ?? 0), 0);
    const files = unreadable === 1 ? "1 file" : `${unreadable} files`;
    const among = unreadable ? ` with ${files} that could not be read` : "";
    const parts = [`${count("done")} of ${all.length} done${among}`];
    if (count("failed")) parts.push(`${count("failed")} failed`);
    sum.textContent = parts.join(", ");
  });
}

function work() {
  while (sending < AT_ONCE && waiting.length) {
    sending += 1;
    send(waiting.shift()).finally(() => {
      sending -= 1;
      work();
    });
  }
}

async function send(entry) {
  const { file, facts, row } = entry;
  row.more.replaceChildren();
  try {
    const job = await sendFile(file, facts, (state, share) => {
      if (state === "waiting") setState(row, "sending", "the service is busy, trying again");
      else setState(row, "sending", share < 1 ? "sending" : "being taken in");
      row.bar.value = share ?? 0;
    });
    follow(row, job);
  } catch (error) {
    setState(row, "failed", "");
    showError(row.said, error);
    row.retry.onclick = () => {
      waiting.push(entry);
      setState(row, "queued", "waiting");
      row.bar.value = 0;
      work();
    };
  }
}

/** Show what a job became: one study in the row itself, those of an archive below it. */
function follow(row, job) {
  const single = job.studies.length === 1 && !job.errors.length;
  row.bar.removeAttribute("value");
  const places = job.studies.map((study) => ({ row, study, ...makePlace(row, study, single) }));
  for (const error of job.errors) {
    const item = document.createElement("li");
    item.className = "failed";
    item.textContent = job.errors.length === 1 && !job.studies.length ? error.message : `${error.name}: ${error.message}`;
    row.more.append(item);
  }
  row.more.hidden = !row.more.children.length;
  row.open = new Set(places);
  row.counts = { studies: job.studies.length, errors: job.errors.length, unreadable: 0, deleted: 0 };
  if (!places.length) {
    row.more.hidden = job.errors.length < 2;
    const one = job.errors.length === 1 ? job.errors[0].message : `${job.errors.length} files could not be taken`;
    setState(row, "failed", job.errors.length ? one : "There is no image in it.");
    row.retry.hidden = true;
    return;
  }
  setState(row, "answering", "being answered");
  for (const place of places) {
    shown.set(place.study.id, [...(shown.get(place.study.id) ?? []), place]);
  }
  look(places.slice(0, 1).map((place) => place.study.id));
  lookSoon();
}

function makePlace(row, study, single) {
  if (single) return { outcome: row.said };
  const item = document.createElement("li");
  const name = document.createElement("span");
  const outcome = document.createElement("span");
  name.textContent = study.name;
  name.className = "name";
  outcome.className = "said";
  outcome.textContent = "being answered";
  item.append(name, outcome);
  row.more.append(item);
  return { outcome };
}

function tell(study) {
  for (const place of shown.get(study.id) ?? []) {
    const word = study.status === "error" ? "UNREADABLE" : (study.decision ?? "NO ANSWER");
    const link = document.createElement("a");
    link.href = `/studies/${study.id}`;
    link.className = "outcome";
    link.dataset.outcome = word;
    const number = study.probability === null ? "" : ` ${writeProbability(study.probability)}`;
    link.textContent = `${MARKS[word] ?? "!"} ${word}${number}`;
    const why = study.probability === null && study.message ? ` ${study.message}` : "";
    place.outcome.replaceChildren(link, why, place.study.new ? "" : " filed before");
    if (study.status === "error") place.row.counts.unreadable += 1;
    finish(place);
  }
  shown.delete(study.id);
}

/** Say that a study is gone before it was answered here. */
function tellDeleted(id) {
  for (const place of shown.get(id) ?? []) {
    place.outcome.textContent = "deleted";
    place.row.counts.deleted += 1;
    finish(place);
  }
  shown.delete(id);
}

function finish(place) {
  const { row } = place;
  row.open.delete(place);
  const { studies, errors, unreadable, deleted } = row.counts;
  if (row.open.size) {
    row.bar.max = studies;
    row.bar.value = studies - row.open.size;
    return;
  }
  row.element.dataset.state = "done";
  row.element.dataset.unreadable = unreadable + errors;
  row.bar.hidden = true;
  if (!row.more.hidden) {
    const parts = [`${studies - unreadable - deleted} answered`];
    if (unreadable) parts.push(`${unreadable} could not be read`);
    if (deleted) parts.push(`${deleted} deleted`);
    if (errors) parts.push(`${errors} could not be taken`);
    row.said.textContent = parts.join(", ");
  }
  countUp();
}

/** Ask about studies; those that wait stay. */
async function look(ids) {
  for (const id of ids) {
    if (!shown.has(id)) continue;
    try {
      const study = await (await request(`/api/v1/studies/${id}`)).json();
      if (study.state === "done") tell(study);
    } catch (error) {
      if (error.status === 404) {
        tellDeleted(id);
        continue;
      }
      if (error.status === 401) showError(sum, error);
      return; // asked again soon
    }
  }
}

let timer = 0;
function lookSoon() {
  // Events say what arrived; this is for what they missed, a few at a time.
  timer ||= setTimeout(async () => {
    await look([...shown.keys()].slice(0, 20));
    timer = 0;
    if (shown.size) lookSoon();
  }, PAUSE);
}

drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  listDropped(event.dataTransfer).then(add, (error) => {
    sum.textContent = `The folder cannot be read: ${error.message}`;
  });
});
// A file that misses the field would replace the page.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
for (const id of ["files", "folder"]) {
  const input = document.getElementById(id);
  input.addEventListener("change", () => {
    add([...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
    input.value = "";
  });
}
document.getElementById("clear").addEventListener("click", () => {
  for (const row of [...rows.children]) {
    const { state } = row.dataset;
    const isOver = state === "failed" && row.querySelector(".retry").hidden;
    if (state === "done" || isOver) row.remove();
  }
  countUp();
});
addEventListener("beforeunload", (event) => {
  if (sending || waiting.length) event.preventDefault();
});

bindKeys({ o: () => document.getElementById("files").click() });
watchStudies({ onStudy: (id) => look([id]), onReturn: lookSoon });
