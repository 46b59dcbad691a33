"use strict"; // Inside of a host application: who that is, how to leave, and no step of ours in its history.
const known = document.querySelector("meta[name=embed-origins]").content.split(" ");
let host = null;
addEventListener("message", ({ source, origin, data }) => {
  if (source !== parent || !known.includes(origin) || data !== "sluice:opened") return;
  host = origin;
  const title = document.querySelector("h1");
  title.tabIndex = -1;
  title.focus();
});
on("keydown", ({ key }) => { if (key === "Escape" && host && !dialogs().length) parent.postMessage("sluice:close", host); });
on("htmx:config:request", ({ detail: { ctx } }) => { if (ctx.push) { ctx.replace = ctx.push; ctx.push = null; } });
on("visibilitychange", () => { if (!document.hidden && document.querySelector("[data-returns]")) location.reload(); });
addEventListener("pagehide", () => { // a dialog that closes is no error
  for (const one of document.querySelectorAll(POLLS)) one.dispatchEvent(new Event("htmx:abort"));
});
