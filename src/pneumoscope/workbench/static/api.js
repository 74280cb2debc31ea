// Requests to this service's API; what it refuses becomes an Error with its sentence.

export const csrf = document.querySelector("meta[name=csrf-token]")?.content ?? "";

/** Return an error with its `status` and the sentence of a problem (RFC 9457), or one of ours. */
export function makeError(status, text) {
  return Object.assign(new Error(tellProblem(status, text)), { status });
}

function tellProblem(status, text) {
  // The service's own sentence is for programs, which have tokens.
  if (status === 401) return "You are no longer signed in.";
  try {
    const problem = JSON.parse(text);
    const sentence = problem.detail ?? problem.title;
    if (typeof sentence === "string" && sentence) return sentence;
  } catch {
    // No JSON: a proxy answered, or nobody did.
  }
  if (status === 413) return "The file is larger than the service takes.";
  return status ? `The service answered ${status}.` : "The service cannot be reached.";
}

export async function request(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw makeError(0, "");
  }
  if (!response.ok) throw makeError(response.status, await response.text());
  return response;
}

/** Return the page that is open as it would be now, to take parts over from. */
export async function fetchPage() {
  const html = await (await request(location.href)).text();
  return new DOMParser().parseFromString(html, "text/html");
}

/** Say what went wrong; who is no longer signed in gets the way through the door, back to this page. */
export function showError(element, error) {
  element.replaceChildren(error.message);
  if (error.status !== 401) return;
  const link = document.createElement("a");
  link.href = `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = "Sign in";
  element.append(" ", link);
}

export function postJson(address, body) {
  return request(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });
}
