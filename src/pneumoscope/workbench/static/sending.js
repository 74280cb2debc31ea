// One file to the queue of the service, with progress; waits where the service asks to.

import { csrf, makeError } from "./api.js";

const TRIES = 8;
const LONGEST = 60;

/** What a request came to: its status, what it said, and how long to wait, in seconds. */
function post(form, onProgress) {
  return new Promise((resolve) => {
    const xhr = new XMLHttpRequest();
    xhr.open("POST", "/api/v1/jobs");
    xhr.setRequestHeader("X-CSRF-Token", csrf);
    xhr.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onProgress(event.loaded / event.total);
    });
    xhr.addEventListener("loadend", () =>
      resolve({
        status: xhr.status,
        text: xhr.responseText,
        wait: readWait(xhr.status ? xhr.getResponseHeader("Retry-After") : null),
      }),
    );
    xhr.send(form);
  });
}

/** Return seconds; the header holds them, or a date. */
export function readWait(header, now = Date.now()) {
  if (!header) return null;
  const seconds = /^\d+$/.test(header) ? Number(header) : (Date.parse(header) - now) / 1000;
  return Number.isFinite(seconds) ? Math.min(LONGEST, Math.max(0, seconds)) : null;
}

/**
 * Send a file, and return the job that the service made of it.
 *
 * `facts` are the other fields; `tell(state, share)` hears "sending" with a share, or "waiting".
 */
export async function sendFile(file, facts, tell) {
  for (let tries = 1; ; tries += 1) {
    const form = new FormData();
    form.append("source", "page");
    for (const [name, value] of Object.entries(facts)) if (value) form.append(name, value);
    form.append("files", file, file.name);
    tell("sending", 0);
    const { status, text, wait } = await post(form, (share) => tell("sending", share));
    if (status === 202 || status === 200 || status === 201) return JSON.parse(text);
    const busy = status === 429 || status === 503;
    if (!busy || tries === TRIES) throw makeError(status, text);
    tell("waiting");
    await new Promise((resolve) => setTimeout(resolve, 1000 * (wait ?? Math.min(LONGEST, 2 ** tries))));
  }
}
