// The grey levels of one image, at full resolution and depth, windowed by a worker.

import { request } from "./api.js";

/**
 * Fetch the pixels of a study; `onBitmap(bitmap)` hears of every new look.
 *
 * Returns `{width, height, bits, range, asked, exact, slope, intercept, look(window), close()}`: `range`
 * are the grey levels that most of the image lies between, `asked` those that its file wants black
 * and white, `exact` whether it says its width as DICOM's LINEAR_EXACT does, and
 * `slope * level + intercept` is a level in the file's own units.
 */
export async function openPixels(studyId, onBitmap) {
  const response = await request(`/api/v1/studies/${studyId}/pixels`);
  const read = (name) => Number(response.headers.get(name));
  const [width, height, bits] = [read("X-Width"), read("X-Height"), read("X-Bits")];
  const facts = {
    asked: { low: read("X-Window-Low"), high: read("X-Window-High") },
    slope: read("X-Rescale-Slope"),
    intercept: read("X-Rescale-Intercept"),
    exact: response.headers.get("X-Window-Function") === "LINEAR_EXACT",
  };
  const buffer = await response.arrayBuffer();
  const worker = new Worker("/static/window_worker.js", { type: "module" });
  let busy = false;
  let wanted = null;

  function look(window) {
    // Only the latest wish counts: while one is drawn, those between are passed over.
    if (busy) wanted = window;
    else {
      busy = true;
      worker.postMessage(window);
    }
  }

  return new Promise((resolve, reject) => {
    worker.addEventListener("error", () => reject(new Error("The image cannot be drawn.")));
    worker.addEventListener("message", ({ data }) => {
      if (data.range) {
        resolve({ width, height, bits, ...facts, ...data, look, close: () => worker.terminate() });
        return;
      }
      busy = false;
      onBitmap(data.bitmap);
      const next = wanted;
      wanted = null;
      if (next) look(next);
    });
    worker.postMessage({ buffer, width, height, bits }, [buffer]);
  });
}
