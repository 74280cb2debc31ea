// One image on the screen: its pixels, its window, and what stands in its corners.

import { request, showError } from "./api.js";
import { openPixels } from "./pixels.js";
import { Viewport } from "./viewport.js";

export class Stage {
  /** The window in shares of the one that the file asks for, so that two images can have the same. */
  window = { level: 0.5, width: 1, invert: false };
  #pixels = null;
  #opening = 0;
  #caption = "";

  constructor(element) {
    this.element = element;
    this.viewport = new Viewport(element.querySelector("canvas"));
    this.viewport.onDraw = () => this.#tell();
    this.#caption = this.part("caption").textContent;
  }

  part(name) {
    return this.element.querySelector(`[data-part=${name}]`);
  }

  get isOpen() {
    return this.#pixels !== null;
  }

  /** Say whose image this is, or would be. */
  name(title) {
    this.part("who").textContent = title;
  }

  /** Say something where the image would be. */
  say(text) {
    this.part("said").textContent = text;
    this.part("said").hidden = false;
  }

  async open(studyId) {
    this.close();
    const turn = ++this.#opening;
    this.say("Loading the image…");
    try {
      const pixels = await openPixels(studyId, (bitmap) => {
        this.viewport.bitmap = bitmap;
        this.part("said").hidden = true;
      });
      if (turn !== this.#opening) pixels.close();
      else this.#pixels = pixels;
      this.look({});
    } catch (error) {
      showError(this.part("said"), error);
    }
  }

  close() {
    this.#opening += 1;
    this.#pixels?.close();
    this.#pixels = null;
    this.viewport.bitmap = null;
    this.dropMap();
    this.part("look").textContent = "";
  }

  /** Change the window; where the image has fewer levels than asked for, it is kept sane. */
  look(window) {
    Object.assign(this.window, window);
    if (!this.#pixels) return;
    const { level, width } = this.#levels();
    this.#pixels.look({ level, width: Math.max(1, width), invert: this.window.invert });
    this.#tell();
  }

  /** Return the window that uses the screen's range for all but the darkest and brightest. */
  findWindow() {
    if (!this.#pixels) return {};
    const { range, asked } = this.#pixels;
    const whole = asked.high - asked.low;
    return {
      level: ((range.low + range.high) / 2 - asked.low) / whole,
      width: Math.max(1, range.high - range.low) / whole,
    };
  }

  /** Return the window in grey levels of the image. */
  #levels() {
    const { low, high } = this.#pixels.asked;
    const { level, width } = this.window;
    return { level: low + level * (high - low), width: width * (high - low) };
  }

  async loadMap(predictionId) {
    const response = await request(`/api/v1/predictions/${predictionId}/heatmap.png`);
    this.viewport.map = await createImageBitmap(await response.blob());
  }

  dropMap() {
    this.viewport.map = null;
    this.showMap(0);
  }

  showMap(opacity) {
    this.viewport.opacity = opacity;
    this.part("caption").textContent = this.#caption;
    this.part("caption").hidden = opacity === 0;
    this.viewport.draw();
  }

  /** Say why there is no map, where its caption would be. */
  excuseMap(reason) {
    this.part("caption").textContent = reason;
    this.part("caption").hidden = false;
  }

  #tell() {
    if (!this.#pixels || !this.viewport.bitmap) return;
    const { width, height, bits, slope, intercept } = this.#pixels;
    const window = this.#levels();
    this.part("look").textContent =
      `${width} × ${height}, ${bits} bit  ·  ${Math.round(100 * this.viewport.scale)} %  ·  ` +
      // As DICOM counts (PS3.3 C.11.2.1.2.1): all of 8 bits is W 256 L 128.
      `W ${Math.round(Math.abs(slope) * window.width + 1)} ` +
      `L ${Math.round(slope * window.level + intercept + 0.5)}` +
      (this.window.invert ? "  ·  inverted" : "");
  }
}
