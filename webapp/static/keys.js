"use strict"; // Menus, the theme and keys.
on("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]"))
    if (!menu.contains(event.target) || event.target.closest(".menu-choice, .menu-link")) menu.open = false;
  if (event.target.closest("#theme")) switchTheme();
  const demo = event.target.closest("[data-email]");
  if (demo) {
    $("login-email").value = demo.dataset.email;
    $("login-password").value = demo.dataset.password;
    $("auth-login").requestSubmit();
  }
});
document.addEventListener("toggle", ({ target }) => { if (target.open) target.querySelector("[data-narrows]")?.focus(); }, true);
on("input", ({ target }) => {
  if (!target.matches("[data-narrows]")) return;
  const links = [...target.parentElement.querySelectorAll("a")];
  for (const one of links) one.hidden = !one.textContent.toLowerCase().includes(target.value.trim().toLowerCase());
  target.parentElement.querySelector(".menu-none").hidden = links.some((one) => !one.hidden);
});
function switchTheme() {
  const root = document.documentElement;
  root.dataset.bsTheme = root.dataset.bsTheme === "dark" ? "light" : "dark";
  try { localStorage.theme = root.dataset.bsTheme; } catch { /* it lasts as long as the page */ }
}

// Rows
const inRow = (row) => row.querySelector(".row-link") || row.querySelector("a, button");
function step(by) {
  const rows = [...document.querySelectorAll("main tr[id], main li[id]")].filter(inRow);
  const at = rows.indexOf(document.activeElement.closest("tr[id], li[id]"));
  const to = at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by;
  if (rows[to]) inRow(rows[to]).focus();
}

// Keys
const KEYS = {
  "/": () => { const search = document.querySelector("main [data-search]"); search?.focus(); search?.select(); },
  "?": () => $("open-help")?.click(),
  j: () => step(1),
  k: () => step(-1),
  x: () => document.activeElement.closest("tr[id], li[id]")?.querySelector("input[type=checkbox]")?.click(),
  r: () => refresh(),
  l: () => toggleLive(),
  t: () => switchTheme(),
};
let went = 0; // when g was pressed
on("keydown", (event) => {
  const { key } = event;
  if (key === "Escape") {
    const menu = document.querySelector("details.menu[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
  }
  if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "k" && !event.shiftKey && !event.altKey && $("palette")) {
    event.preventDefault();
    openPalette();
  }
  const typing = event.target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || dialogs().length || document.body.dataset.keys === "off") return;
  const go = Date.now() - went < 1500 && document.querySelector(`[data-go="${CSS.escape(key)}"]`);
  went = key === "g" ? Date.now() : 0;
  if (!go && !KEYS[key]) return;
  event.preventDefault();
  if (go) go.click();
  else KEYS[key]();
});
