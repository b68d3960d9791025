// How much the index holds now, which other programs may be changing; asked for now and then while the page is seen.

import { $, button, call, counted } from "./dom.js";

const SECONDS = 15;
let items = null;  // that the index holds, as it was last told
let searched = null;  // that it held when the hits were found
export let most = 100;  // hits that the server gives at most

export const noteSearch = () => { searched = items; };

export async function watch(searchAgain) {
  const look = async () => {
    if (document.hidden) return;
    const status = await call("/v1/status").catch(() => null);  // a search says what is wrong
    if (!status) return;
    const more = items === null ? 0 : status.items - items;
    [items, most] = [status.items, status.hits];
    searched ??= items;
    $("state").replaceChildren(counted(items, "passage"));
    if (more) $("state").append(`, ${more > 0 ? "+" : "−"}${Math.abs(more).toLocaleString("en")} just now`);
    if ($("hits").children.length && searched !== items) $("state").append(", changed since this search ", button("Search again", searchAgain));
  };
  await look();
  setInterval(look, SECONDS * 1000);
  document.addEventListener("visibilitychange", look);
}
