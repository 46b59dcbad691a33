"use strict"; // The one dialog: what a link marked data-dialog asks for appears in it. What is marked data-view has an address.
let opener = null, typed = false, asked = null; // asked: the request whose answer the dialog waits for
on("click", (event) => { opener = event.target.closest("[data-dialog]:not(#dialog *)") || opener; });
const isOurs = (ctx) => ctx.target?.id === "dialog-body";
on("htmx:config:request", ({ detail: { ctx } }) => { if (isOurs(ctx)) asked = ctx; });
on("htmx:before:swap", (event) => {
  const { ctx } = event.detail;
  if (!isOurs(ctx)) return;
  if (ctx !== asked) event.preventDefault(); // the dialog was closed, or asked for something else, meanwhile
  ctx.stood = $("dialog").open;
});
function openDialog(ctx) {
  if (ctx.stood && !$("dialog").open) return; // it was closed while its content settled
  typed = false;
  if (!$("dialog").open) $("dialog").showModal();
  ($("dialog").querySelector("[autofocus]") || $("dialog-title"))?.focus();
  tell();
}
// Out of a form that stands in front of a view, back to the view; else out of the dialog.
function leaveDialog() {
  typed = false;
  if (views && !$("dialog").querySelector("[data-view]")) showView();
  else $("dialog").close();
}
on("input", (event) => { if (event.target.closest("#dialog") && event.target.type !== "search") typed = true; });
document.addEventListener("cancel", (event) => { if (event.target === $("dialog") && typed) event.preventDefault(); }, true);
document.addEventListener("close", (event) => {
  if (event.target !== $("dialog")) return;
  asked = null;
  document.body.append($("toasts"));
  $("dialog-body").replaceChildren();
  refocus();
  if (views) { leaving = true; history.go(-views); views = 0; }
  refresh();
}, true);
function refocus() { // of what stands in a menu, which is closed by now: to the menu
  const one = $(opener?.id);
  (one?.closest("details.menu:not([open])")?.querySelector("summary") ?? one)?.focus({ preventScroll: true });
}
// A step of the history resets the focus when it is done
globalThis.navigation?.addEventListener("navigatesuccess", () => { if (!$("dialog").open && document.activeElement === document.body) refocus(); });
on("mousedown", (event) => { if (event.target === $("dialog") && !typed) leaveDialog(); });
on("click", (event) => { if (event.target.closest("[data-close]")) leaveDialog(); });

// Views: each that was opened is a step of the history, and the page below stays where it is
let views = 0, leaving = false;
const showView = () => htmx.ajax("GET", location.pathname + location.search, { target: "#dialog-body", swap: "innerHTML" });
const goneView = () => { if (views > 1) history.back(); else $("dialog").close(); };
on("htmx:config:request", (event) => {
  const { ctx } = event.detail, source = ctx.sourceElement, inside = $("dialog").contains(source);
  if (inside && ctx.push && !source.matches("[data-dialog]")) { ctx.replace = ctx.push; ctx.push = null; }
  if (ctx.request.method === "GET" && source.matches("[data-dialog]") && ctx.push && document.querySelector("main [data-view]")) {
    event.preventDefault(); // the page itself is such a view: two would get into each other's way
    location.assign(source.href);
  }
  if (source.matches("[data-gone]") && !inside) { event.preventDefault(); source.submit(); } // its page goes, too
});
on("htmx:after:history:update", ({ detail: { history: { type }, sourceElement } }) => {
  if (!sourceElement.matches("[data-dialog], #dialog *")) return;
  if (type === "push") views += 1;
  history.replaceState({ ...history.state, views }, "");
});
on("htmx:before:history:restore", (event) => {
  const to = history.state?.views ?? 0;
  if (leaving) { leaving = false; event.preventDefault(); return; }
  if (!views || !$("dialog").open) { views = 0; return; }
  event.preventDefault();
  views = to;
  if (to) showView(); else { typed = false; $("dialog").close(); }
});
on("DOMContentLoaded", () => { if (history.state?.views) history.replaceState({ htmx: true }, ""); });
