// A canvas that shows a picture zoomed, moved and turned, with a tinted map over it.

const MOST = 16;
const LEAST = 0.5;

export class Viewport {
  /** Where one looks: zoom (1 fits), the point in the middle (shares of the turned picture), turns. */
  view = { zoom: 1, x: 0.5, y: 0.5, turns: 0 };
  map = null;
  opacity = 0;
  onDraw = () => {};
  #bitmap = null;
  #due = false;

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  get bitmap() {
    return this.#bitmap;
  }

  set bitmap(bitmap) {
    this.#bitmap?.close();
    this.#bitmap = bitmap;
    this.draw();
  }

  /** Width and height of the turned picture in its own pixels. */
  get size() {
    const { width = 1, height = 1 } = this.#bitmap ?? {};
    return this.view.turns % 2 ? [height, width] : [width, height];
  }

  /** Pixels of the page for one of the picture. */
  get scale() {
    const [width, height] = this.size;
    const { clientWidth, clientHeight } = this.canvas;
    return this.view.zoom * Math.min(clientWidth / width, clientHeight / height);
  }

  change(view) {
    Object.assign(this.view, view);
    const largest = Math.max(1, (MOST * this.view.zoom) / this.scale);
    this.view.zoom = Math.min(largest, Math.max(LEAST, this.view.zoom));
    this.view.x = Math.min(1, Math.max(0, this.view.x));
    this.view.y = Math.min(1, Math.max(0, this.view.y));
    this.draw();
  }

  /** Zoom about a point of the canvas, which stays where it is; its middle by default. */
  zoomBy(factor, [px, py] = this.middle) {
    const [mx, my] = this.middle;
    const before = this.extent();
    const x = this.view.x + (px - mx) / before[0];
    const y = this.view.y + (py - my) / before[1];
    this.change({ zoom: this.view.zoom * factor });
    const after = this.extent();
    this.change({ x: x - (px - mx) / after[0], y: y - (py - my) / after[1] });
  }

  moveBy(dx, dy) {
    const [width, height] = this.extent();
    this.change({ x: this.view.x - dx / width, y: this.view.y - dy / height });
  }

  /** A quarter turn to the right; the point in the middle stays there. */
  turn() {
    const { x, y, turns } = this.view;
    this.change({ turns: (turns + 1) % 4, x: 1 - y, y: x });
  }

  get middle() {
    return [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
  }

  extent() {
    const [width, height] = this.size;
    return [width * this.scale, height * this.scale];
  }

  draw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#paint();
    });
  }

  #resize() {
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.#paint();
  }

  #paint() {
    const { context, canvas, view } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const bitmap = this.#bitmap;
    if (!bitmap) return;
    const ratio = canvas.width / canvas.clientWidth;
    const [mx, my] = this.middle;
    const [width, height] = this.extent();
    const scale = this.scale * ratio;
    context.translate(ratio * (mx + (0.5 - view.x) * width), ratio * (my + (0.5 - view.y) * height));
    context.rotate((view.turns * Math.PI) / 2);
    // Enlarged eightfold, one looks at pixels: then they are shown as they are.
    context.imageSmoothingEnabled = scale < 8;
    context.imageSmoothingQuality = "high";
    const place = [-0.5 * scale * bitmap.width, -0.5 * scale * bitmap.height, scale * bitmap.width, scale * bitmap.height];
    context.drawImage(bitmap, ...place);
    if (this.map && this.opacity > 0) {
      context.globalAlpha = this.opacity;
      context.imageSmoothingEnabled = true;
      context.drawImage(this.map, ...place);
      context.globalAlpha = 1;
    }
    this.onDraw();
  }
}
