// How much the index holds now, which other programs may be changing; asked for now and then while the page is seen.

import { $, button, call, counted } from "./dom.js";

const SECONDS = 15, SECONDS_WHILE_INDEXING = 3;
let items = null;  // that the index holds, as it was last told
let searched = null;  // that it held when the hits were found
export let most = 100;  // hits that the server gives at most

let indexing = false, timer = null;

export const noteSearch = () => { searched = items; };

function progress({ what, unit, done, total, seconds_left: left }) {
  const share = `${what}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")} ${unit}`;
  if (left === null) return share;
  return `${share}, about ${left < 90 ? `${Math.ceil(left)} s` : `${Math.round(left / 60)} min`} left`;
}

export async function watch(searchAgain) {
  const look = async () => {
    if (document.hidden) return;
    const status = await call("/v1/status").catch(() => null);  // a search says what is wrong
    if (!status) return;
    const now = status.under_way;
    if (Boolean(now) !== indexing) {
      indexing = Boolean(now);
      clearInterval(timer);
      timer = setInterval(look, (indexing ? SECONDS_WHILE_INDEXING : SECONDS) * 1000);
    }
    const more = items === null ? 0 : status.items - items;
    [items, most] = [status.items, status.hits];
    searched ??= items;
    $("state").replaceChildren(counted(items, "passage"));
    if (now) $("state").append(`, ${progress(now)}`);
    else if (more) $("state").append(`, ${more > 0 ? "+" : "−"}${Math.abs(more).toLocaleString("en")} just now`);
    if ($("hits").children.length && searched !== items) $("state").append(", changed since this search ", button("Search again", searchAgain));
  };
  timer = setInterval(look, SECONDS * 1000);
  await look();
  document.addEventListener("visibilitychange", look);
}
