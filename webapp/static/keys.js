"use strict"; // Menus, the theme and keys.
on("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  if (event.target.closest("#theme")) switchTheme();
  const demo = event.target.closest("[data-email]");
  if (demo) {
    $("login-email").value = demo.dataset.email;
    $("login-password").value = demo.dataset.password;
    $("auth-login").requestSubmit();
  }
});
function switchTheme() {
  const root = document.documentElement;
  root.dataset.bsTheme = root.dataset.bsTheme === "dark" ? "light" : "dark";
  try { localStorage.theme = root.dataset.bsTheme; } catch { /* it lasts as long as the page */ }
}
on("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = document.querySelector("details.menu[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
  }
  const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey && !$("dialog").open) {
    const search = document.querySelector("[data-search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  }
});
