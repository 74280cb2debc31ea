// The grey levels of one image, at full resolution and depth, windowed by a worker.

import { request } from "./api.js";

/**
 * Fetch the pixels of a study; `onBitmap(bitmap)` hears of every new look.
 *
 * Returns `{width, height, bits, levels, range, look(window), close()}`, levels of a window
 * being grey levels of the image.
 */
export async function openPixels(studyId, onBitmap) {
  const response = await request(`/api/v1/studies/${studyId}/pixels`);
  const [width, height, bits] = ["X-Width", "X-Height", "X-Bits"].map((name) =>
    Number(response.headers.get(name)),
  );
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
        resolve({ width, height, bits, ...data, look, close: () => worker.terminate() });
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
