// The keyboard: to the query, through the hits, and what can be done with the one that has the focus.

import { $ } from "./dom.js";
import { chooseMode } from "./filters.js";

const DOWN = ["ArrowDown", "j"], UP = ["ArrowUp", "k"];
const ACTIONS = { Enter: "a", c: ".copy", e: ".unfold" };  // key: what is clicked in a hit

addEventListener("keydown", event => {
  const { key } = event, focused = document.activeElement, typing = focused === $("query");
  const rows = [...$("hits").children], at = rows.indexOf(focused.closest("li"));
  const arrow = key.startsWith("Arrow"), free = at >= 0 || focused === document.body;
  if (event.ctrlKey || event.altKey || event.metaKey || (typing && !arrow)) return;
  if (key === "/") { $("query").focus(); $("query").select(); }
  else if (DOWN.includes(key) && rows.length && (free || typing)) rows[Math.min(at + 1, rows.length - 1)].focus();
  else if (UP.includes(key) && at >= 0) (rows[at - 1] ?? $("query")).focus();
  else if (key in ACTIONS && rows.includes(focused)) focused.querySelector(ACTIONS[key])?.click();
  else if (/^[1-9]$/.test(key)) chooseMode(key);
  else return;
  event.preventDefault();
});
