// Single keys as shortcuts. They can be switched off (WCAG 2.1, 2.1.4), since voice control and
// screen readers may send letters of their own.

const STORED = "keys-off";
const FIELDS = "input:not([type=range], [type=checkbox], [type=radio]), textarea, select";

export function areKeysOn() {
  return localStorage.getItem(STORED) === null;
}

export function switchKeys(on) {
  if (on) localStorage.removeItem(STORED);
  else localStorage.setItem(STORED, "1");
}

/**
 * Call `bindings[event.key]` for keys that no field, dialog or browser shortcut wants.
 *
 * Returns what ends it.
 */
export function bindKeys(bindings) {
  const listen = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (!areKeysOn() || event.target.closest(FIELDS) || document.querySelector("dialog[open]")) return;
    // Arrows belong to a slider or a choice that has the focus, and scroll what can be scrolled.
    if (event.key.startsWith("Arrow") && event.target.closest("input, aside, dialog")) return;
    const act = bindings[event.key];
    if (!act) return;
    event.preventDefault();
    act(event);
  };
  document.addEventListener("keydown", listen);
  return () => document.removeEventListener("keydown", listen);
}
