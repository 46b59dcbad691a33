"use strict"; // Live refresh: how often, how old the data is, and nothing fetched that is there already.
const POLLS = '[hx-trigger*="every "], [hx-trigger*="renew"]';
const began = Date.now();
const isPoll = (ctx) => ["every", "renew"].includes(ctx.sourceEvent?.type);
const dialogs = () => [...document.querySelectorAll("dialog[open]")];
const isBehind = (one) => dialogs().length > 0 && !dialogs().some((open) => open.contains(one));
function refresh() {
  for (const one of document.querySelectorAll(POLLS))
    one.dispatchEvent(new CustomEvent(one.getAttribute("hx-trigger").includes("every ") ? "every" : "renew"));
}
on("htmx:config:request", (event) => {
  const { ctx } = event.detail;
  if (isPoll(ctx) && (document.hidden || isBehind(ctx.sourceElement))) event.preventDefault();
  else if (ctx.target?.tag && ctx.target === ctx.sourceElement) ctx.request.headers["HX-PTag"] = ctx.target.tag;
});
function noteAge(ctx, ok, aborted) {
  const one = ctx.target;
  if (ok && one && ctx.request.method === "GET" && ctx.status === "swapped") {
    one.tag = ctx.response.headers.get("HX-PTag"); // tells what this element shows, whoever asked for it
    one.fresh = Date.now();
    one.failures = 0;
  } else if (!ok && !aborted && isPoll(ctx)) {
    one.failures = (one.failures ?? 0) + 1;
    if (one.failures === 3) say("The connection is lost. What you see may be old.");
  }
  tell();
}
const age = (since) => {
  const s = Math.round((Date.now() - since) / 1000);
  return s < 3 ? "just now" : s < 60 ? `${s} s ago` : `${Math.floor(s / 60)} min ago`;
};
function tell() {
  const live = $("live");
  if (!live) return;
  const lists = [...document.querySelectorAll(POLLS)].filter((one) => !one.closest("dialog"));
  const lost = lists.some((one) => one.failures > 2);
  live.hidden = !lists.length;
  live.toggleAttribute("data-lost", lost);
  live.toggleAttribute("data-rests", dialogs().length > 0);
  const text = `${lost ? "No answer. " : ""}Updated ${age(Math.min(...lists.map((one) => one.fresh ?? began)))}`;
  if ($("live-text").textContent !== text) $("live-text").textContent = text;
}
setInterval(tell, 1000);
on("visibilitychange", () => document.hidden || refresh());
on("DOMContentLoaded", tell);

// The rate
let usual = "2";
function toggleLive() {
  const rate = $("live")?.dataset.rate;
  if (!rate) return;
  if (rate !== "off") usual = rate;
  htmx.ajax("POST", "/account/preferences", { values: { name: "rate", value: rate === "off" ? usual : "off" }, swap: "none" });
}
on("preference-changed", ({ detail: { name, value } }) => {
  if (name === "keys") document.body.dataset.keys = value;
  if (name !== "rate" || !$("live")) return;
  $("live").dataset.rate = value;
  $("live-rate").textContent = value === "off" ? "Live is off" : `Live · every ${value} s`;
  for (const one of $("live").querySelectorAll("[aria-pressed]")) one.ariaPressed = one.value === value;
  say($("live-rate").textContent);
  refresh();
});
on("click", (event) => { if (event.target.closest("[data-refresh]")) refresh(); });

// Times: the library says "now" all through the first minute, and tells us of a text only if it differs from ours
on("relative-time-updated", ({ target, newText }) => {
  const root = newText === "now" && target.shadowRoot?.querySelector("[part=root]");
  const s = root && Math.round((target.date - Date.now()) / 1000);
  if (root) root.textContent = s ? new Intl.RelativeTimeFormat("en").format(s, "second") : "just now";
});
