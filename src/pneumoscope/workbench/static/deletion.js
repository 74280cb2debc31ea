// Deleting the study that is open: asked about once more, since nothing brings it back.

import { csrf, request, showError } from "./api.js";

/** Make the button work, where the page has one; `onGone()` hears that another was faster. */
export function prepareDeletion({ id, onGone }) {
  const dialog = document.getElementById("deletion");
  if (!dialog) return;
  const confirm = document.getElementById("delete-now");
  const wrong = document.getElementById("deletion-wrong");

  document.getElementById("delete").addEventListener("click", () => {
    wrong.hidden = true;
    dialog.showModal();
  });
  confirm.addEventListener("click", async () => {
    confirm.disabled = true;
    try {
      await request(`/api/v1/studies/${id}`, { method: "DELETE", headers: { "X-CSRF-Token": csrf } });
      location.assign(document.getElementById("back").href);
    } catch (error) {
      if (error.status === 404) onGone();
      confirm.disabled = false;
      wrong.hidden = false;
      showError(wrong, error);
    }
  });
}
