// The influence map over an image: off at first, so that the image is looked at before it.

/** Make the map of an answer, where it has one; returns what the keys do. */
export function prepareMap(stage, prediction) {
  const button = document.getElementById("map");
  const opacity = document.getElementById("opacity");
  let on = false;

  async function show(wanted) {
    on = wanted;
    button.setAttribute("aria-pressed", String(on));
    try {
      if (on && !stage.viewport.map) await stage.loadMap(prediction);
      stage.showMap(on ? opacity.value / 100 : 0);
    } catch (error) {
      on = false;
      button.setAttribute("aria-pressed", "false");
      stage.excuseMap(error.message);
    }
  }

  stage.dropMap();
  if (!button) return { toggle() {}, fade() {} };
  button.addEventListener("click", () => show(!on));
  opacity.addEventListener("input", () => show(true));
  return {
    toggle: () => show(!on),
    fade(by) {
      opacity.value = Number(opacity.value) + by;
      show(true);
    },
  };
}
