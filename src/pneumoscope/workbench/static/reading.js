// What the reader says: chosen by key or pointer, saved by a second act, since it stays for ever.

import { postJson, request, showError } from "./api.js";
import { localiseTimes } from "./shell.js";

/**
 * Make the form of a study (its element) work, with what its reader left there unsaved.
 *
 * Returns what the keys do; `onGone()` hears that there is no study any more.
 */
export function prepareReading({ study, drafts, onGone }) {
  const { id } = study.dataset;
  const form = document.getElementById("reading");
  const save = document.getElementById("save");
  const said = document.getElementById("reading-said");
  const wrong = document.getElementById("reading-wrong");
  const comment = document.getElementById("comment");

  function choose(value) {
    const choice = form.querySelector(`input[value="${value}"]`);
    if (choice.disabled) {
      said.textContent =
        study.dataset.status === "error"
          ? "Nobody can see this image: comment on it only."
          : "There is no answer to agree with: say NORMAL or PNEUMONIA.";
      return;
    }
    choice.checked = true;
    update();
    keep();
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

  function keep() {
    const { prediction } = study.dataset;
    drafts.keep(id, { verdict: form.elements.verdict.value, comment: comment.value, prediction });
  }

  function recall() {
    const draft = drafts.recall(id);
    if (!draft) return;
    comment.value = draft.comment;
    // Whoever agreed did so with the answer of then.
    const stands = draft.verdict !== "agree" || draft.prediction === study.dataset.prediction;
    if (stands) form.elements.verdict.value = draft.verdict;
    update();
    said.textContent = "Not saved yet.";
  }

  form.addEventListener("input", () => {
    update();
    keep();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      form.reset();
      update();
      drafts.drop(id);
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
    const verdict = label === null ? value : label === study.dataset.decision ? "agree" : "correct";
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
      drafts.drop(id);
      said.textContent = "Saved.";
      // It is kept, whether or not the list can be shown anew now.
      followReadings(id).catch(() => {});
    } catch (error) {
      update();
      if (error.status === 404) onGone();
      wrong.hidden = false;
      showError(wrong, error);
    }
  });
  update();
  recall();
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
