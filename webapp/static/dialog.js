"use strict"; // The one dialog: what a link marked data-dialog asks for appears in it.
let opener = null, typed = false;
on("click", (event) => { opener = event.target.closest("[data-dialog]") || opener; });
function openDialog() {
  typed = false;
  if (!$("dialog").open) $("dialog").showModal();
  if (!$("dialog").querySelector("[autofocus]")) $("dialog-title")?.focus();
  tell();
}
function leaveDialog() { typed = false; $("dialog").close(); }
on("input", (event) => { if (event.target.closest("#dialog") && event.target.type !== "search") typed = true; });
document.addEventListener("cancel", (event) => { if (event.target === $("dialog") && typed) event.preventDefault(); }, true);
document.addEventListener("close", (event) => {
  if (event.target !== $("dialog")) return;
  document.body.append($("toasts"));
  $("dialog-body").replaceChildren();
  $(opener?.id)?.focus({ preventScroll: true });
  refresh();
}, true);
on("mousedown", (event) => { if (event.target === $("dialog") && !typed) leaveDialog(); });
on("click", (event) => { if (event.target.closest("[data-close]")) leaveDialog(); });
