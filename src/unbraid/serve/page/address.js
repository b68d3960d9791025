// What the address of the page holds: the query and the filters. Pictures are too large for it; the history keeps them.

export const STEP = 20;  // hits at a time
const SHARE = 0.6;

export function fromAddress(search) {
  const given = new URLSearchParams(search), share = Number(given.get("share")), count = Number(given.get("hits"));
  return {
    text: given.get("q") ?? "",
    share: share >= 0.1 && share <= 0.9 ? share : SHARE,
    mode: given.get("mode") ?? "",
    words: given.get("words") !== "no",
    why: given.get("why") === "yes",
    kind: given.get("show") ?? "",
    folder: given.get("folder") ?? "",
    languages: given.getAll("language"),
    count: Number.isInteger(count) && count > STEP ? count : STEP,
    pictures: Number(given.get("pictures")) || 0,
  };
}

export function toAddress(state, firstMode) {  // what is as it is by default is left out
  const given = new URLSearchParams();
  const add = (name, value, byDefault) => { if (value !== byDefault) given.set(name, value); };
  add("q", state.text, "");
  add("share", state.share, SHARE);
  add("mode", state.mode, firstMode);
  add("words", state.words ? "yes" : "no", "yes");
  add("why", state.why ? "yes" : "no", "no");
  add("show", state.kind, "");
  add("folder", state.folder, "");
  state.languages.forEach(name => given.append("language", name));
  add("hits", state.count, STEP);
  add("pictures", state.pictures, 0);
  return given.size ? `?${given}` : location.pathname;
}

export function remember(state, pictures, firstMode, replace) {
  const address = toAddress(state, firstMode), here = location.search || location.pathname;
  const same = address === here && samePictures(pictures, history.state?.pictures ?? []);
  const write = (replace || same ? history.replaceState : history.pushState).bind(history);
  try {
    write({ pictures }, "", address);
  } catch {  // some browsers keep no more than 16 MB
    write(null, "", address);
  }
}

export const samePictures = (some, others) =>
  some.length === others.length && some.every((one, at) => one.image === others[at].image && one.not === others[at].not);
