// What every page has: its theme, the list of keys, and moments in the reader's own time zone.

import { dropDrafts } from "./drafts.js";
import { areKeysOn, bindKeys, switchKeys } from "./keys.js";

const YEAR = 365 * 24 * 3600;

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.querySelector("meta[name=color-scheme]").content = theme;
  // A cookie, so that the next page comes in the right colours at once.
  document.cookie = `theme=${theme}; path=/; max-age=${YEAR}; samesite=strict`;
}

function prepareTheme() {
  const button = document.getElementById("theme");
  button.addEventListener("click", () => {
    const light = document.documentElement.dataset.theme !== "light";
    setTheme(light ? "light" : "dark");
    button.textContent = light ? "Dark" : "Light";
  });
}

function prepareKeys() {
  const dialog = document.getElementById("keys");
  const on = document.getElementById("keys-on");
  on.checked = areKeysOn();
  on.addEventListener("change", () => switchKeys(on.checked));
  document.getElementById("show-keys").addEventListener("click", () => dialog.showModal());
  bindKeys({
    "?": () => dialog.showModal(),
    g: () => location.assign(document.getElementById("back")?.href ?? "/"),
  });
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const LONG_DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** Write the moments below `root` as the reader's clock has them. */
export function localiseTimes(root = document) {
  const now = new Date();
  for (const element of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(element.dateTime);
    const today = moment.toDateString() === now.toDateString();
    const day = moment.getFullYear() === now.getFullYear() ? DAY : LONG_DAY;
    element.title = moment.toLocaleString();
    element.textContent = (today ? "" : `${day.format(moment)}, `) + CLOCK.format(moment);
  }
}

// Who leaves the tab to others leaves nothing typed behind.
document.getElementById("sign-out")?.addEventListener("submit", dropDrafts);
prepareTheme();
prepareKeys();
localiseTimes();
