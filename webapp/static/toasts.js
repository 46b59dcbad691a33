"use strict"; // Toasts: what happened, with a link or an Undo. They wait while somebody reads them.
on("toast", (event) => toast(event.detail));
function toast({ message, level = "success", href, undo, retry }) {
  const note = $("toast-template").content.firstElementChild.cloneNode(true);
  note.dataset.level = level;
  if (level === "error") note.setAttribute("role", "alert");
  note.querySelector("p").textContent = message;
  const link = note.querySelector("a");
  if (href) { link.href = href; link.hidden = false; }
  const button = note.querySelector("[data-undo]");
  if (undo) { button.hidden = false; button.dataset.undo = undo; }
  if (retry) { note.querySelector("[data-retry]").hidden = false; note.retry = retry; }
  $("toasts").append(note);
  dialogs().at(-1)?.append($("toasts")); // else it would lie behind, out of reach
  keep(note, undo ? 30 : 10);
  while ($("toasts").children.length > 3) $("toasts").firstElementChild.remove();
}
function keep(note, left = 10) {
  const tick = setInterval(() => {
    if (note.dataset.level === "error" || note.matches(":hover, :focus-within") || document.hidden || --left > 0) return;
    clearInterval(tick);
    note.remove();
  }, 1000);
}
on("click", (event) => {
  const note = event.target.closest(".toast-note");
  if (!note) return;
  const { undo } = event.target.closest("[data-undo]")?.dataset ?? {};
  if (undo) htmx.ajax("POST", undo, { swap: "none" });
  if (event.target.closest("[data-retry]")) note.retry();
  if (undo || event.target.closest("button[type=button]")) note.remove(); // a form must stay to be sent
});
on("DOMContentLoaded", () => document.querySelectorAll(".toast-note").forEach((note) => keep(note, note.querySelector("form") ? 30 : 10)));
