"use strict"; // The command palette: a combobox. The server names the options; here one of them is chosen.
const options = () => [...$("palette-list").querySelectorAll("[role=option]")];
const chosen = () => $("palette-list").querySelector("[aria-selected=true]");
let goes = false; // Enter was pressed before the choices for these words were there
const isOld = () => $("palette-list").dataset.q !== $("palette-q").value.trim();
function openPalette() {
  if (!$("palette") || dialogs().length) return;
  $("palette-q").value = "";
  goes = false;
  $("palette").showModal();
  $("palette-q").focus();
  ask();
  tell();
}
let asks = 0; // the timer that waits for a pause in typing
on("input", ({ target }) => {
  if (target.id !== "palette-q") return;
  clearTimeout(asks);
  asks = setTimeout(ask, 100);
});
function ask() { // not by hx-trigger: words typed on a young page, which htmx has not seen yet, would be lost
  const event = new Event("input"); // what Try again repeats
  htmx.ajax("GET", $("open-palette").href, { source: "#palette-q", target: "#palette-list", swap: "outerMorph", event });
}
function choose(one) {
  chosen()?.setAttribute("aria-selected", "false");
  one?.setAttribute("aria-selected", "true");
  $("palette-q").setAttribute("aria-activedescendant", one?.id ?? "");
  one?.scrollIntoView({ block: "nearest" });
}
function offer() { // new options are there
  const n = options().length;
  choose(options()[0]);
  $("palette-list").scrollTop = 0;
  $("palette-count").textContent = `${n} ${n === 1 ? "choice" : "choices"}`;
  if (goes && !isOld()) { goes = false; chosen()?.click(); }
}
on("keydown", (event) => {
  if (event.target.id !== "palette-q" || event.isComposing) return;
  const all = options();
  if (event.key !== "Enter") goes = false;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && all.length) choose(all[(all.indexOf(chosen()) + step + all.length) % all.length]);
  else if (event.key === "Enter" && !(goes = isOld())) chosen()?.click();
  if (step || event.key === "Enter") event.preventDefault();
});
on("mousemove", (event) => {
  const option = event.target.closest?.(".palette [role=option]");
  if (option && option !== chosen()) choose(option);
});
on("click", (event) => {
  const { target } = event;
  if (target.closest("[data-palette]") && $("palette") && !event.ctrlKey && !event.metaKey) { event.preventDefault(); openPalette(); }
  const option = target.closest(".palette [role=option]");
  if (!option && !target.closest("[data-leave]")) return;
  $("palette").close();
  if (option?.dataset.presses) { event.preventDefault(); $(option.dataset.presses).click(); }
  if (option?.matches("[data-dialog]")) opener = $("open-palette");
});
on("mousedown", (event) => { if (event.target.id === "palette") $("palette").close(); });
document.addEventListener("close", (event) => {
  if (event.target.id !== "palette") return;
  document.body.append($("toasts"));
  refresh();
}, true);
