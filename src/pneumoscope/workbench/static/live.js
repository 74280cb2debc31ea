// Hears which studies changed. A page that nobody sees lets go of its connection: a browser has
// only six to one server, and they would be used up by tabs.

/**
 * Call `onStudy(id)` for each study that changes, and `onReturn()` when something may have been
 * missed; `onState("on" | "off")` says whether it hears.
 */
export function watchStudies({ onStudy, onReturn = () => {}, onState = () => {} }) {
  let source = null;
  let missed = false;

  function open() {
    source = new EventSource("/api/v1/events");
    source.addEventListener("open", () => {
      onState("on");
      if (missed) onReturn();
      missed = false;
    });
    source.addEventListener("error", () => {
      missed = true;
      onState("off");
      // Refused outright, as where a session ended: the browser does not try again by itself.
      if (source?.readyState === EventSource.CLOSED) setTimeout(retry, 10_000);
    });
    source.addEventListener("study", (event) => onStudy(JSON.parse(event.data).id));
  }

  function close() {
    source?.close();
    source = null;
    missed = true;
  }

  function retry() {
    if (source?.readyState !== EventSource.CLOSED) return;
    close();
    open();
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => {
    if (event.persisted && !source) open();
  });
  if (!document.hidden) open();
}
