// Mouse, pen and fingers on a canvas: drag, pinch, wheel, and the window with Shift or right button.

/** `act` has `move(dx, dy)`, `zoom(factor, [x, y])` and `window(dx, dy)`, in pixels of the page. */
export function bindGestures(canvas, act) {
  const fingers = new Map();
  let windowing = false;

  function place(event) {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    windowing = event.button === 2 || event.shiftKey;
    fingers.set(event.pointerId, place(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    const [dx, dy] = [now[0] - before[0], now[1] - before[1]];
    fingers.set(event.pointerId, now);
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const spread = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      act.move(dx / 2, dy / 2);
      act.zoom(spread(now) / spread(before), middle);
    } else if (windowing) act.window(dx, dy);
    else act.move(dx, dy);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      // A wheel's notch is about 100; a touch pad gives many small steps.
      const delta = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 * event.deltaY : event.deltaY;
      act.zoom(Math.exp(-delta / 400), place(event));
    },
    { passive: false },
  );
}
