// Requests to this service's API; what it refuses becomes an Error with its sentence.

export const csrf = document.querySelector("meta[name=csrf-token]")?.content ?? "";

/** Return the sentence of a problem (RFC 9457), or what can be said without one. */
export function tellProblem(status, text) {
  try {
    const problem = JSON.parse(text);
    const sentence = problem.detail ?? problem.title;
    if (typeof sentence === "string" && sentence) return sentence;
  } catch {
    // No JSON: a proxy answered, or nobody did.
  }
  if (status === 401) return "You are no longer signed in: reload the page.";
  if (status === 413) return "The file is larger than the service takes.";
  return status ? `The service answered ${status}.` : "The service cannot be reached.";
}

export async function request(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(tellProblem(0, ""));
  }
  if (!response.ok) throw new Error(tellProblem(response.status, await response.text()));
  return response;
}

export function postJson(address, body) {
  return request(address, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });
}
