// One image on the screen: its pixels, its window, and what stands in its corners.

import { request, showError } from "./api.js";
import { openPixels } from "./pixels.js";
import { Viewport } from "./viewport.js";

export class Stage {
  /** In grey levels of the image; none before it is open. */
  #window = { level: 0, width: 1 };
  #inverted = false;
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
      if (turn !== this.#opening) {
        pixels.close();
        return;
      }
      this.#pixels = pixels;
      this.#takeAskedWindow();
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

  /** Begin again with the window that the file asks for. */
  reset() {
    this.#inverted = false;
    this.#takeAskedWindow();
  }

  /** Take the window that uses the screen's range for all but the darkest and brightest. */
  fitWindow() {
    if (!this.#pixels) return;
    const { low, high } = this.#pixels.range;
    this.#look({ level: (low + high) / 2, width: Math.max(1, high - low) });
  }

  /**
   * Change the window: its width by a factor, its level by a share of its width. So the same act
   * does the same to two images, whatever their grey levels are.
   */
  changeWindow({ factor = 1, shift = 0 }) {
    const { level, width } = this.#window;
    this.#look({ level: level + shift * width, width: width * factor });
  }

  set inverted(inverted) {
    this.#inverted = inverted;
    this.#look(this.#window);
  }

  get inverted() {
    return this.#inverted;
  }

  /** The window as shares, 0..1, of all levels that there are or that the file asks for. */
  get shares() {
    if (!this.#pixels) return { level: 0.5, width: 1 };
    const { first, whole } = this.#extent();
    return { level: (this.#window.level - first) / whole, width: this.#window.width / whole };
  }

  #takeAskedWindow() {
    if (!this.#pixels) return;
    const { low, high } = this.#pixels.asked;
    this.#look({ level: (low + high) / 2, width: high - low });
  }

  #extent() {
    const { bits, asked } = this.#pixels;
    const first = Math.min(0, asked.low);
    return { first, whole: Math.max(2 ** bits - 1, asked.high) - first };
  }

  #look({ level, width }) {
    if (!this.#pixels) return;
    const { first, whole } = this.#extent();
    const { low, high } = this.#pixels.asked;
    this.#window = {
      level: Math.min(first + whole, Math.max(first, level)),
      width: Math.min(whole, Math.max(Math.min(1, high - low), width)),
    };
    this.#pixels.look({ ...this.#window, invert: this.#inverted });
    this.#tell();
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
    const { width, height, bits, slope, intercept, exact } = this.#pixels;
    // DICOM's usual window counts one more than its ends are apart (PS3.3 C.11.2.1.2.1): all of 8
    // bits is W 256 L 128.
    const one = exact ? 0 : 1;
    const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(Math.abs(slope)))));
    const write = (value) => String(Number(value.toFixed(digits)));
    this.part("look").textContent =
      `${width} × ${height}, ${bits} bit  ·  ${Math.round(100 * this.viewport.scale)} %  ·  ` +
      `W ${write(Math.abs(slope) * this.#window.width + one)} ` +
      `L ${write(slope * this.#window.level + intercept + one / 2)}` +
      (this.#inverted ? "  ·  inverted" : "");
  }
}
