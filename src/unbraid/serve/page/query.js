// The query: a text, pictures, and how much the text counts beside them.

import { $, node, say } from "./dom.js";
import { samePictures } from "./address.js";

const NOT = 0.3;  // weight of a picture that is not wanted, where the wanted ones and words are 1 together
let pictures = [];  // that are searched by: their data URL, name, and whether hits shall not be like it
let changed = () => {};  // called with whether to search now

export const typed = () => $("query").value.trim();
export const current = () => ({ text: typed(), pictures: pictures.map(one => ({ ...one })), share: Number($("share").value) });
export const isEmpty = query => !query.text && !query.pictures.some(one => !one.not);
export const sameQuery = (one, other) =>
  Boolean(one && other) && one.text === other.text && one.share === other.share && samePictures(one.pictures, other.pictures);

export function set({ text, share }, some) {
  $("query").value = text;
  $("share").value = share;
  pictures = some;
  showPictures();
}

export function content({ text, pictures, share }) {  // a query as a request has it
  const liked = pictures.filter(one => !one.not).length;
  if (!pictures.length) return { query: { text } };
  if (liked === 1 && pictures.length === 1 && !text) return { query: { image: pictures[0].image } };
  const ofWords = liked ? share : 1, ofOne = (text ? 1 - share : 1) / liked;
  return {
    query: [...(text ? [{ text }] : []), ...pictures.map(one => ({ image: one.image }))],
    weights: [...(text ? [ofWords] : []), ...pictures.map(one => one.not ? -NOT : ofOne)],
  };
}

function choose(...files) {
  const wrong = files.find(file => !file.type.startsWith("image/"));
  if (wrong) return say(true, `${wrong.name} is no picture.`);
  Promise.all(files.map(read)).then(read => { pictures.push(...read); showPictures(); changed(true); });
}

function read(file) {
  return new Promise((done, failed) => {
    const reader = Object.assign(new FileReader(), { onerror: failed });
    reader.onload = () => done({ image: reader.result, name: file.name, not: false });
    reader.readAsDataURL(file);
  });
}

function showPictures() {
  $("chosen").replaceChildren(...pictures.map(chip));
  $("file").value = "";
  weigh();
}

function chip(picture) {
  const row = node("div"), label = node("label"), shown = Object.assign(node("img"), { src: picture.image });
  const tell = () => {
    row.className = picture.not ? "not" : "";
    shown.alt = picture.not ? "A picture that hits shall not be like" : "The picture that is searched by";
  };
  const toggle = () => { picture.not = !picture.not; tell(); weigh(); changed(true); };
  tell();
  label.append(Object.assign(node("input"), { type: "checkbox", onchange: toggle, checked: picture.not }), " not this");
  const remove = Object.assign(node("button", "", "Remove"), { type: "button" });
  remove.onclick = () => {
    pictures = pictures.filter(one => one !== picture);
    showPictures();
    $("query").focus();
    if (typed() || pictures.length) changed(true);
  };
  row.append(shown, node("span", "", picture.name), label, remove);
  return row;
}

function weigh() {  // what can be set depends on what the query is made of
  $("sharing").hidden = !typed() || !pictures.some(one => !one.not);
  const words = document.querySelector("input[name=words]");
  if (words) words.disabled = pictures.length > 0 && !typed();  // pictures have none
  changed(false);
}

export function listen(onChange) {
  changed = onChange;
  $("form").addEventListener("submit", event => { event.preventDefault(); changed(true); });
  $("query").addEventListener("input", weigh);
  $("share").addEventListener("change", () => changed(true));
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { if ($("file").files.length) choose(...$("file").files); });
  addEventListener("dragover", event => { event.preventDefault(); $("form").className = "over"; });
  addEventListener("dragleave", event => { if (!event.relatedTarget) $("form").className = ""; });
  addEventListener("drop", event => {
    event.preventDefault();
    $("form").className = "";
    const data = event.dataTransfer, link = data.getData("text/uri-list"), text = data.getData("text/plain");
    if (data.files.length) choose(...data.files);
    else if (link.startsWith(`${location.origin}/v1/pictures?`)) fetch(link).then(reply => reply.blob()).then(blob => choose(new File([blob], decodeURIComponent(link).split("/").pop(), blob)));  // a hit's picture
    else if (text) { $("query").value = text; weigh(); changed(true); }
  });
  addEventListener("paste", event => {  // cells of a table come as text and as a picture: the text is meant
    const file = event.clipboardData.files[0];
    if (file && !event.clipboardData.getData("text/plain")) { event.preventDefault(); choose(file); }
  });
}
