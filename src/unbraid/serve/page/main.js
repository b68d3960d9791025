// The search page: asks the server, shows the hits, and keeps both in the address.

import { $, call, counted, fail, node, say } from "./dom.js";
import { fromAddress, remember, STEP } from "./address.js";
import * as filters from "./filters.js";
import * as hits from "./hits.js";
import * as query from "./query.js";
import * as status from "./status.js";
import "./keys.js";

let wanted = null;  // the last query
let asked = null;  // the query and filters of the hits
let vectors = {};  // its vectors, as the server gave them: another mode needs no encoding
let oneTier = true;  // whether queries and documents are encoded alike, in every mode
let multiVector = false;  // whether the model has vectors of words: a second look and "Why" then need the text itself
let ready = false;  // once the server has said what it serves
let flight = null;  // the last request: an earlier one that is still out is given up

const state = (one, count) => ({ ...filters.filters(), text: one.text, share: one.share, pictures: one.pictures.length, count });

async function ask(one, count, how) {
  flight?.abort();
  const mine = flight = new AbortController(), started = performance.now(), chosen = filters.filters();
  wanted = one;
  const mixed = Boolean(one.text && chosen.words);
  const known = query.sameQuery(one, asked?.one) && (oneTier || chosen.mode === asked.chosen.mode);  // its vectors are here; then the query itself is sent for its words alone
  const text = multiVector && one.text && !one.pictures.length;
  const about = { ...(known ? vectors : {}), ...(known && !mixed && !text ? {} : query.content(one)), ...(text && chosen.why ? { explain: true } : {}) };
  const narrowed = { modality: chosen.kind || undefined, paths: chosen.folder ? [chosen.folder] : undefined, languages: chosen.languages.length ? chosen.languages : undefined };
  say(false, "Searching…");
  $("hits").className = how === "more" ? "" : "old";
  let answer;
  try {
    answer = await call("/v1/search", { ...about, vectors_only: mixed ? undefined : true, mode: chosen.mode, ...narrowed, k: count }, mine.signal);
  } catch (error) {
    return mine === flight && fail(error, () => ask(one, count, how));
  }
  const reordered = known && asked.count === count && filters.sameFilters(chosen, asked.chosen);
  asked = { one, chosen, count };
  vectors = { base: answer.base, own: answer.own ?? undefined };
  tell(answer, mixed, performance.now() - started);
  hits.show(answer.data, how ?? (reordered ? "reordered" : "new"));
  $("more").hidden = answer.data.length < count || count >= status.most;
  status.noteSearch();
}

function tell({ data, mode, encoded }, mixed, took) {
  const found = `${counted(data.length, "hit")} in ${mode} mode`, time = `${Math.round(took)} ms`;
  if (!data.length) return say(false, `${found}, ${time}. Take a filter away, or ask in other words.`);
  const scale = `A score is the probability that a hit is relevant, by its meaning${mixed ? " and its words" : ""}.`;
  if (encoded) say(false, `${found}, ${time}. ${scale}`);
  else say(false, node("b", "", "Nothing was encoded again: "), `${found} from the same vectors, ${time}. ${scale}`);
}

function search() {
  if (!ready) return;
  const one = query.current();
  if (query.isEmpty(one)) return say(false, one.pictures.length ? "Say what you look for too: type something, or drop another picture." : "Type something, or drop a picture.");
  begin(one);
}

function begin(one, count = STEP, how) {
  remember(state(one, count), one.pictures, filters.firstMode(), how === "more");
  ask(one, count, how);
}

function again() {  // another mode or filter: by the vectors that are here already, unless the query was changed meanwhile
  const one = query.current();
  if (wanted && (one.text || one.pictures.length) && !query.isEmpty(one)) begin(one);
  else if (wanted) begin(wanted);
  else remember(state(one, STEP), one.pictures, filters.firstMode(), true);
}

function restore() {  // what the address and the history say; what was typed while the page started stays
  if (!ready && !location.search) return filters.set(fromAddress(""));
  const { count, pictures, ...given } = fromAddress(location.search), kept = history.state?.pictures ?? [];
  query.set(given, kept.map(one => ({ ...one })));
  filters.set(given);
  const one = query.current();
  if (pictures > kept.length) return say(false, "The search that this address is of also had pictures, which an address cannot hold: drop them here.");
  if (query.isEmpty(one)) {
    flight?.abort();
    [wanted, asked] = [null, null];
    hits.clear();
    say(false);
  } else ask(one, Math.min(count, status.most));
}

async function start() {
  say(false, "");
  try {
    const model = (await call("/v1/models")).data[0];
    $("about").textContent = `${model.id} ${model.version || ""}`;
    if (!model.index) return say(true, "No index is served here. Start with: unbraid serve --index DIR");
    multiVector = model.multi_vector;
    oneTier = model.tier === model.query_tier;
    filters.build(model, again);
    $("more").addEventListener("click", () => begin(asked.one, Math.min(asked.count + STEP, status.most), "more"));
    await status.watch(() => asked && ask(asked.one, asked.count, "new"));
    addEventListener("popstate", restore);
    restore();
    ready = true;
  } catch (error) { fail(error, start); }
}
query.listen(now => { filters.explain(); if (now) search(); });
start();
