// What narrows a search: its mode, words or not, the kind of hits, a folder, languages.

import { $, button, call, counted, node } from "./dom.js";

const MEANING = { retrieval: "passages that answer the query", symmetric: "what means the same as the query", code: "code that does what the query says" };
const KINDS = { "": "everything", image: "pictures" };
const FIRST = 12;  // values of a facet that are shown before the rest is asked for
let modes = {};  // name: the tasks of its two sides
let folder = "", languages = [];
let unfolded = new Set();  // facets that are shown whole
let changed = () => {};

const picked = name => document.querySelector(`input[name=${name}]:checked:enabled`)?.value;
const wordsToo = () => document.querySelector("input[name=words]");
export const filters = () => ({ mode: picked("mode"), words: wordsToo().checked, why: Boolean(picked("why")), kind: picked("kind") ?? "", folder, languages: [...languages] });
export const firstMode = () => Object.keys(modes)[0];
export const sameFilters = (one, other) => one.kind === other.kind && one.folder === other.folder && String(one.languages) === String(other.languages);

function pick(place, name, type, value, text) {
  const label = node("label", "pick");
  label.append(Object.assign(node("input"), { type, name, value, onchange: changed }), text);
  $(place).append(label);
  return label;
}

export function build(model, onChange) {
  changed = () => { explain(); refresh(); onChange(); };
  modes = model.search_modes;
  document.querySelectorAll("label.pick").forEach(one => one.remove());
  Object.keys(modes).forEach((mode, number) => pick("modes", "mode", "radio", mode, mode).append(node("kbd", "", number + 1)));
  pick("modes", "words", "checkbox", "on", "Words too").id = "mixing";
  if (model.multi_vector) pick("modes", "why", "checkbox", "on", "Why").title = "Shows which words of a hit answered which words of the query";
  ["", ...model.modalities].forEach(kind => pick("kinds", "kind", "radio", kind, KINDS[kind] ?? kind));
  $("narrow").addEventListener("toggle", refresh);
}

export function set(state) {
  const check = (name, value) => {
    const inputs = [...document.querySelectorAll(`input[name=${name}]`)];
    (inputs.find(input => input.value === value) ?? inputs[0]).checked = true;
  };
  check("mode", state.mode);
  check("kind", state.kind);
  wordsToo().checked = state.words;
  const why = document.querySelector("input[name=why]");
  if (why) why.checked = state.why;
  [folder, languages] = [state.folder, state.languages];
  explain();
  if ((folder || languages.length) && !$("narrow").open) $("narrow").open = true;  // which asks for them
  else refresh();
}

export function chooseMode(number) {
  const input = document.querySelectorAll("input[name=mode]")[number - 1];
  if (!input || input.checked) return;
  input.checked = true;
  changed();
}

export function explain() {
  const mode = picked("mode"), meaning = MEANING[mode] ?? modes[mode]?.join(" against ");
  $("means").textContent = meaning ? `Finds ${meaning}.${picked("words") ? " Its exact words count too: names, numbers, rare terms." : ""}` : "";
  $("narrowed").textContent = [folder && folder.split("/").pop(), ...languages].filter(Boolean).join(" · ");
}

async function refresh() {  // the folders and languages that there are, where somebody looks at them
  if (!$("narrow").open) return;
  const { kind } = filters(), asked = { modality: kind || undefined, folder: folder || undefined, languages: languages.length ? languages : undefined };
  const nothing = { top: "", folders: [], languages: [] };
  const found = await call("/v1/facets", asked).catch(() => nothing);  // a search says what is wrong
  list("folders", [...crumbs(found), ...found.folders.map(folderButton)]);
  const gone = languages.filter(name => !found.languages.some(one => one.value === name)).map(value => ({ value, count: 0 }));
  list("languages", [...gone, ...found.languages].map(languageBox));
}

function list(place, items) {
  const all = unfolded.has(place), legend = $(place).querySelector("legend");
  const focused = $(place).contains(document.activeElement) ? document.activeElement.dataset.value ?? document.activeElement.value : null;
  const more = button(`${items.length - FIRST} more`, () => { unfolded.add(place); refresh(); });
  $(place).replaceChildren(legend, ...(all ? items : items.slice(0, FIRST)), ...(all || items.length <= FIRST ? [] : [more]));
  if (focused === null) return;
  const controls = [...$(place).querySelectorAll("button, input")];
  (controls.find(one => (one.dataset.value ?? one.value) === focused) ?? controls[0])?.focus();
}

function choose(path) {
  folder = path;
  changed();
}

function crumbs({ top }) {  // the way from the top folder to the chosen one
  const start = top.replace(/\/$/, ""), inside = folder.startsWith(`${start}/`);
  const parts = inside ? folder.slice(start.length + 1).split("/") : folder ? [folder] : [];
  const places = inside ? parts.map((_, number) => `${start}/${parts.slice(0, number + 1).join("/")}`) : parts;
  return ["", ...places].map((path, number) => {
    const one = button(number ? `${parts[number - 1]}/` : "all folders", () => choose(path));
    one.dataset.value = path;
    if (path === folder) one.setAttribute("aria-current", "true");
    return one;
  });
}

const count = number => Object.assign(node("span", "count", ` ${number.toLocaleString("en")}`), { title: counted(number, "passage") });

function folderButton({ value, count: number }) {
  const one = button(value.split("/").pop(), () => choose(value));
  one.dataset.value = value;
  one.title = value;
  one.append(count(number));
  return one;
}

function languageBox({ value, count: number }) {
  const label = node("label", "pick"), input = Object.assign(node("input"), { type: "checkbox", name: "language", value, checked: languages.includes(value) });
  input.onchange = () => {
    languages = input.checked ? [...languages, value] : languages.filter(one => one !== value);
    changed();
  };
  label.append(input, value, count(number));
  return label;
}
