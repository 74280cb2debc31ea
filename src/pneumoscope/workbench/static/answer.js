// An answer that arrives while somebody looks at its study: put into the page, and nothing else is
// touched.

import { fetchPage } from "./api.js";
import { localiseTimes } from "./shell.js";

/** Take over from the study's page, as it is now, what tells of its answer. */
export async function refreshAnswer(study) {
  const now = await fetchPage();
  const focused = document.activeElement;
  for (const part of document.querySelectorAll("[data-follow]")) {
    const fresh = now.querySelector(`[data-follow=${part.dataset.follow}]`);
    localiseTimes(fresh);
    part.replaceWith(fresh);
  }
  Object.assign(study.dataset, now.getElementById("study").dataset);
  if (focused.id && !focused.isConnected) document.getElementById(focused.id)?.focus();
}
