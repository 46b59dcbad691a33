"use strict"; // Ticked rows: the box of the whole page, ranges with Shift, and how many they are.
let lastTick = null;
const ticks = () => [...document.querySelectorAll("[data-tick]")];
on("click", ({ target, shiftKey }) => {
  if (target.matches("[data-tick-all]")) for (const one of ticks()) one.checked = target.checked;
  if (target.matches("[data-tick]")) {
    const all = ticks(), from = all.indexOf($(lastTick)), to = all.indexOf(target);
    if (shiftKey && from >= 0) for (const one of all.slice(Math.min(from, to), Math.max(from, to))) one.checked = target.checked;
    lastTick = target.id;
  }
  if (target.closest("[data-untick]")) untick();
  countTicks();
});
function untick() {
  for (const one of [...ticks(), $("bulk-all"), $("tick-all")]) if (one) one.checked = false;
  countTicks();
}
function countTicks() {
  const text = document.querySelector("[data-bulk-count]");
  if (!text) return;
  const all = ticks(), number = all.filter((one) => one.checked).length;
  if (!number && $("bulk-all").checked) $("bulk-all").checked = false;
  text.textContent = $("bulk-all").checked ? "All matching selected" : `${number} selected`;
  $("tick-all").checked = number > 0 && number === all.length;
  $("tick-all").indeterminate = number > 0 && number < all.length;
}
on("htmx:after:swap", countTicks);
on("DOMContentLoaded", countTicks);
on("htmx:finally:request", ({ detail: { ctx } }) => {
  if (ctx.sourceElement.matches?.("[data-unticks]") && ctx.response?.status < 400) untick();
});
