// What every part of the page uses: elements, messages, calls of the server.

export const $ = id => document.getElementById(id);
export const node = (tag, className = "", textContent = "") => Object.assign(document.createElement(tag), { className, textContent });
export const button = (text, onclick) => Object.assign(node("button", "small", text), { type: "button", onclick });
export const counted = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;

export function say(bad, ...parts) {
  $("said").className = bad ? "bad" : "";
  $("said").replaceChildren(...parts);
}

export function fail(error, retry) {
  say(true, error.message[0].toUpperCase() + error.message.slice(1), " ", ...(error.passing ? [button("Try again", retry)] : []));
  if ($("hits").children.length) $("said").append(" Below is what was found before.");
  $("hits").className = "";
}

export async function call(path, body, signal) {  // its answer; with a body, that of a POST
  const failure = (text, passing) => Object.assign(new Error(text), { passing });
  const post = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  const reply = await fetch(path, { ...(body ? post : {}), signal }).catch(() => { throw failure("The server cannot be reached.", true); });
  const answer = await reply.json().catch(() => null);  // a proxy may answer with a page
  if (reply.ok && answer) return answer;
  throw failure(answer?.error?.message || `The server answered ${reply.status}.`, reply.status === 429 || reply.status >= 500);
}
