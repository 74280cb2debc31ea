// What the reader says: chosen by key or pointer, saved by a second act, since it stays for ever.

import { postJson, request, showError } from "./api.js";
import { localiseTimes } from "./shell.js";

/** Make the form work; returns what the keys do. `onGone()` hears that there is no study any more. */
export function prepareReading({ id, decision, onGone }) {
  const form = document.getElementById("reading");
  const save = document.getElementById("save");
  const said = document.getElementById("reading-said");
  const wrong = document.getElementById("reading-wrong");
  const comment = document.getElementById("comment");

  function choose(value) {
    const choice = form.querySelector(`input[value="${value}"]`);
    if (!choice) {
      said.textContent = "There is no answer to agree with: say NORMAL or PNEUMONIA.";
      return;
    }
    choice.checked = true;
    update();
    (value === "comment" ? comment : save).focus();
  }

  function update() {
    const value = form.elements.verdict.value;
    const words = comment.value.trim();
    save.disabled = !value || (value === "comment" && !words);
    comment.placeholder = value === "comment" ? "Comment" : "Comment (optional)";
    said.textContent = "";
    wrong.hidden = true;
  }

  form.addEventListener("input", update);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      form.reset();
      update();
      document.activeElement.blur();
    } else if (event.key === "Enter" && (event.ctrlKey || event.target.type === "radio")) {
      event.preventDefault();
      save.click();
    }
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = form.elements.verdict.value;
    const label = value === "agree" || value === "comment" ? null : value;
    // Who says what the model said agrees with it.
    const verdict = label === null ? value : label === decision ? "agree" : "correct";
    save.disabled = true;
    said.textContent = "Saving…";
    try {
      await postJson(`/api/v1/studies/${id}/readings`, {
        verdict,
        label: verdict === "agree" ? null : label,
        comment: comment.value.trim(),
      });
      form.reset();
      update();
      await followReadings(id);
      said.textContent = "Saved.";
    } catch (error) {
      update();
      if (error.status === 404) onGone();
      wrong.hidden = false;
      showError(wrong, error);
    }
  });
  update();
  return {
    a: () => choose("agree"),
    n: () => choose("NORMAL"),
    p: () => choose("PNEUMONIA"),
    c: () => choose("comment"),
  };
}

/** Show the readings as they are now. */
export async function followReadings(id) {
  const list = document.getElementById("readings");
  list.innerHTML = await (await request(`/studies/${id}/readings`)).text();
  localiseTimes(list);
}
