// The worklist: filters, search and pages without reloading; rows that follow the answers.

import { request, showError } from "./api.js";
import { bindKeys } from "./keys.js";
import { watchStudies } from "./live.js";
import { localiseTimes } from "./shell.js";

const list = document.getElementById("list");
const form = document.getElementById("search");
const live = document.getElementById("live");
const PAUSE = 1000;

let offset = Number(new URLSearchParams(location.search).get("offset")) || 0;
let chosen = null;
let running = null;

function describe() {
  const parts = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value) parts.set(name, value);
  if (offset) parts.set("offset", offset);
  return parts.toString();
}

/** Fetch the rows anew, and keep the chosen one: by its study, or else by its place. */
async function refresh() {
  running?.abort();
  running = new AbortController();
  const query = describe();
  let html;
  try {
    const response = await request(`/worklist/rows?${query}`, { signal: running.signal });
    html = await response.text();
  } catch (error) {
    if (error.name === "AbortError") return;
    say("off");
    showError(live, error);
    return;
  }
  const before = findRows();
  const place = before.findIndex((row) => row.dataset.id === chosen);
  const focused = list.contains(document.activeElement);
  const part = document.createElement("template");
  part.innerHTML = html;
  localiseTimes(part.content);
  keepPictures(before, part.content);
  list.replaceChildren(part.content);
  history.replaceState(null, "", query ? `/?${query}` : "/");
  const rows = findRows();
  const same = rows.find((row) => row.dataset.id === chosen) ?? rows[Math.min(place, rows.length - 1)];
  if (same && place >= 0) choose(same, focused);
}

/** Take pictures over that are there already, so that rows do not flicker. */
function keepPictures(rows, root) {
  for (const row of rows) {
    const old = row.querySelector("img");
    const fresh = root.querySelector(`tr[data-id="${row.dataset.id}"] img`);
    if (fresh && old?.complete) fresh.replaceWith(old);
  }
}

let due = 0;
function refreshSoon() {
  // Many answers come together: once a second is enough to follow them.
  due ||= setTimeout(async () => {
    await refresh();
    due = 0;
  }, PAUSE);
}

function findRows() {
  return [...list.querySelectorAll("tr[data-id]")];
}

function choose(row, focus = true) {
  for (const other of list.querySelectorAll("tr.chosen")) other.classList.remove("chosen");
  row.classList.add("chosen");
  chosen = row.dataset.id;
  if (!focus) return;
  row.querySelector("a").focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const rows = findRows();
  if (!rows.length) return;
  const place = rows.findIndex((row) => row.dataset.id === chosen);
  choose(rows[Math.max(0, Math.min(rows.length - 1, place < 0 ? 0 : place + by))]);
}

function show(decision) {
  form.elements.decision.value = decision;
  offset = 0;
  return refresh();
}

function turn(rel) {
  const link = list.querySelector(`a[rel=${rel}]`);
  if (!link) return;
  offset = Number(link.dataset.offset);
  chosen = null;
  refresh().then(() => scrollTo(0, 0));
}

function say(state) {
  live.dataset.state = state;
  live.textContent = state === "on" ? "Live" : "Not live";
}

list.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (link.dataset.decision !== undefined) {
    event.preventDefault();
    show(link.dataset.decision).then(() => list.querySelector("[aria-current]")?.focus());
  } else if (link.rel === "next" || link.rel === "prev") {
    event.preventDefault();
    turn(link.rel);
  }
});
// A picture that cannot be made leaves its place dark, without the sign of a broken one.
list.addEventListener("error", ({ target }) => target.removeAttribute("src"), true);
list.addEventListener("focusin", (event) => {
  const row = event.target.closest("tr[data-id]");
  if (row) choose(row, false);
});

let typing = 0;
form.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    offset = 0;
    refresh();
  }, 200);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  findRows()[0]?.querySelector("a").focus();
});

bindKeys({
  j: () => step(1),
  k: () => step(-1),
  n: () => turn("next"),
  p: () => turn("prev"),
  1: () => show(""),
  2: () => show("PNEUMONIA"),
  3: () => show("REFER"),
  4: () => show("NORMAL"),
  "/": () => form.elements.text.focus(),
  u: () => form.elements.unread.click(),
  // Where the focus is elsewhere, the chosen study opens all the same.
  Enter: (event) => {
    const target = event.target.closest("a, button") ?? list.querySelector("tr.chosen a");
    target?.click();
  },
});

watchStudies({ onStudy: refreshSoon, onReturn: refreshSoon, onState: say });
