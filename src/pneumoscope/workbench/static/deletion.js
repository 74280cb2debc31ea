// Deleting the study that is open: asked about once more, since nothing brings it back.

import { csrf, fetchPage, request, showError } from "./api.js";

/** Make the button work, where the page has one; `onGone()` hears that there is no study any more. */
export function prepareDeletion({ id, onGone }) {
  const dialog = document.getElementById("deletion");
  if (!dialog) return;
  const ask = document.getElementById("delete");
  const confirm = document.getElementById("delete-now");
  const what = document.getElementById("deletion-what");
  const wrong = document.getElementById("deletion-wrong");

  ask.disabled = false;
  ask.addEventListener("click", async () => {
    wrong.hidden = true;
    try {
      // Another study may have got the same image, or lost it, since the page was opened.
      what.textContent = (await fetchPage()).getElementById(what.id).textContent;
    } catch (error) {
      if (error.status === 404) return onGone();
      wrong.hidden = false;
      showError(wrong, error);
    }
    if (!dialog.open) dialog.showModal();
  });
  confirm.addEventListener("click", async () => {
    confirm.disabled = true;
    try {
      await request(`/api/v1/studies/${id}`, { method: "DELETE", headers: { "X-CSRF-Token": csrf } });
      onGone();
      location.assign(document.getElementById("back").href);
    } catch (error) {
      if (error.status === 404) onGone();
      confirm.disabled = false;
      wrong.hidden = false;
      showError(wrong, error);
    }
  });
}
