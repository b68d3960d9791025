// The hits: their cards, what is marked in them, and how they move when another mode reorders them.

import { $, button, node } from "./dom.js";

let order = new Map();  // place of each hit in the last answer
const key = hit => `${hit.path}\n${hit.unit}\n${hit.first_line}`;
const paged = hit => /\.(pdf|tiff?)$/i.test(hit.path);
const place = hit => hit.path + (hit.first_line === null || hit.unit || paged(hit) ? "" : `:${hit.first_line}`);

function fileLink(hit) {  // a browser goes to the page of a PDF, or to the text, by itself
  const line = (hit.match || hit.snippet).split("\n").map(one => one.trim()).find(Boolean) ?? "";
  const words = line.length > 80 ? line.slice(0, 80).replace(/\S*$/, "").trim() : line;
  const fragment = paged(hit) ? `#page=${hit.first_line ?? 1}` : hit.modality !== "image" && !hit.unit && words ? `#:~:text=${encodeURIComponent(words).replaceAll("-", "%2D")}` : "";
  return `/v1/files?path=${encodeURIComponent(hit.path)}${fragment}`;
}

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = Object.assign(node("textarea"), { value: text });  // where no https is, there is no clipboard
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

function copyButton(hit) {
  const one = button("Copy path", async () => {
    await copy(place(hit));
    one.textContent = "Copied";
    setTimeout(() => { one.textContent = "Copy path"; }, 1500);
  });
  one.classList.add("copy");
  one.title = place(hit);
  return one;
}

function title(hit, moved) {
  const head = node("div", "head"), path = node("div", "path");
  const link = Object.assign(node("a", "", hit.path.split("/").slice(-2).join("/")), { href: fileLink(hit), target: "_blank", rel: "noopener" });
  path.title = hit.path;
  path.append(link);
  if (hit.first_line !== null) path.append(node("span", "", `${hit.unit ? ` ${hit.unit} ` : paged(hit) ? " page " : ":"}${hit.first_line}${hit.last_line === hit.first_line ? "" : "–" + hit.last_line}`));
  path.append(node("span", "kind", hit.modality === "image" ? "picture" : hit.modality));
  if (moved) path.append(node("span", "moved", moved));
  head.append(path, copyButton(hit));
  return head;
}

function mark(place, before, { text, marks }) {  // marks count characters, of which some are two of a string
  const characters = [...text], part = (start, end) => characters.slice(start, end).join("");
  let at = 0;
  place.append(before);
  for (const [start, end] of marks) {
    place.append(part(at, start), node("mark", "", part(start, end)));
    at = end;
  }
  place.append(part(at));
}

function linesOf(hit) {  // the lines of a snippet, each with the marks in it and its place in the picture
  let start = 0;
  return hit.snippet.split("\n").map((text, number) => {
    const first = start, end = first + [...text].length;
    start = end + 1;
    const marks = hit.marks.filter(([from, to]) => from >= first && to <= end).map(([from, to]) => [from - first, to - first]);
    return { text, marks, box: hit.boxes[number] };
  });
}

function outline([left, top, right, bottom]) {
  const box = node("i"), share = number => `${100 * number}%`;
  Object.assign(box.style, { left: share(left), top: share(top), width: share(right - left), height: share(bottom - top) });
  return box;
}

function card(hit, best, moved) {
  const row = node("li"), score = node("div", "score"), bar = node("div", "bar"), fill = node("i"), what = node("div", "what");
  row.tabIndex = hit.rank === 1 ? 0 : -1;
  row.dataset.key = key(hit);
  row.dataset.rank = hit.rank;
  fill.style.width = `${Math.max(0, hit.score / best) * 100}%`;
  bar.append(fill);
  score.append(node("b", "", hit.rank), hit.score.toFixed(3), bar);
  score.title = `cosine ${hit.cosine.toFixed(3)}` + (hit.bm25 === null ? "" : `, BM25 ${hit.bm25.toFixed(1)}`);
  what.append(title(hit, moved));
  if (hit.within) what.append(node("p", "within", hit.within));
  if (hit.picture) {
    const frame = node("div", "frame"), lines = linesOf(hit), found = lines.filter(line => line.marks.length);
    const onerror = () => frame.replaceWith(node("p", "", "This picture was changed or moved since it was indexed."));
    frame.append(Object.assign(node("img"), { src: hit.picture, alt: hit.path.split("/").pop(), loading: "lazy", onerror }));
    frame.append(...found.filter(line => line.box).map(line => outline(line.box)));
    what.append(frame);
    const words = node("p", "words");
    (found.length ? found : lines).forEach((line, number) => mark(words, (number ? " · " : ""), line));
    if (hit.snippet) what.append(words);
  } else {
    const text = node("pre", hit.modality);
    mark(text, "", { text: hit.snippet, marks: hit.marks });
    what.append(text);
  }
  if (hit.why?.length) what.append(node("p", "why", `Why: ${hit.why.map(one => `${one.query} ← ${one.passage} ${one.cosine.toFixed(2)}`).join(", ")}`));
  if (hit.copies.length) what.append(node("p", "copies", `Also in ${hit.copies.map(one => one.path).join(", ")}`));
  row.append(score, what);
  return row;
}

function unfold(row) {  // a button where a text is cut; only what is laid out can be measured
  const text = row.querySelector("pre");
  if (!text || text.scrollHeight <= text.clientHeight + 1) return;
  const more = button("Show all", () => { more.textContent = text.classList.toggle("all") ? "Show less" : "Show all"; });
  more.classList.add("unfold");
  row.querySelector(".what").append(more);
}

export function clear() {
  $("hits").replaceChildren();
  $("hits").className = "";
  $("intro").hidden = false;
  $("more").hidden = true;
  order = new Map();
}

export function show(hits, how) {  // how: "new", "reordered" by another mode, or "more" of the same
  const old = [...$("hits").children], known = new Map(old.map(row => [row.dataset.key, row]));
  const before = new Map(old.map(row => [row.dataset.key, row.getBoundingClientRect().top]));
  const best = Math.max(...hits.map(hit => hit.score), 1e-6), inside = $("hits").contains(document.activeElement);
  const rows = hits.map(hit => {
    const same = how === "more" && known.get(key(hit));
    if (same && same.dataset.rank === String(hit.rank)) return same;  // so that nothing jumps or loads again
    const up = how === "reordered" ? order.get(key(hit)) - hit.rank : 0;  // NaN for one that was not there
    return card(hit, best, up > 0 ? `▲ ${up}` : up < 0 ? `▼ ${-up}` : up === 0 ? "" : "new");
  });
  $("intro").hidden = true;
  $("hits").className = "";
  $("hits").replaceChildren(...rows);
  rows.filter(row => !old.includes(row)).forEach(unfold);
  if (how === "more") rows[old.length]?.focus();
  else if (inside) (rows[0] ?? $("query")).focus();
  order = new Map(hits.map(hit => [key(hit), hit.rank]));
  if (how !== "reordered" || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  for (const row of rows) {  // each row glides from where it was
    const from = before.has(row.dataset.key) ? before.get(row.dataset.key) - row.getBoundingClientRect().top : 0;
    row.animate([{ transform: `translateY(${from}px)`, opacity: Number(before.has(row.dataset.key)) }, { transform: "none", opacity: 1 }], { duration: 250, easing: "ease-out" });
  }
}
