"use strict"; // What htmx does not do by itself. Here: requests and swaps; beside it a file for each part.
const $ = (id) => document.getElementById(id);
const on = (name, act) => document.addEventListener(name, act);
const say = (text) => { $("announce").textContent = text; };

// Requests
const isAside = (ctx) => ctx.sourceElement.matches?.("[data-aside]"); // it renews itself, but is not what the page is about
on("htmx:config:request", (event) => {
  const { request } = event.detail.ctx;
  if (request.method !== "GET") request.headers["X-CSRFToken"] = document.querySelector("meta[name=csrf-token]")?.content;
  else for (const [name, value] of [...request.body]) if (value === "") request.body.delete(name);
  if (isAside(event.detail.ctx) && (document.hidden || isBehind(event.detail.ctx.sourceElement))) event.preventDefault();
});
on("htmx:finally:request", ({ detail: { ctx } }) => {
  if (isAside(ctx)) return;
  const aborted = ctx.request.signal.aborted && ctx.request.signal.reason !== "timeout";
  const ok = ctx.response && ctx.response.status < 400;
  if (ok && ctx.sourceElement.matches?.("[data-closes]")) leaveDialog();
  if (ok && ctx.sourceElement.matches?.("[data-gone]")) goneView();
  noteAge(ctx, ok, aborted);
  if (ok || aborted || isPoll(ctx) || ctx.response?.status === 422 || ctx.hx?.redirect !== undefined || explained(ctx)) return;
  const page = new DOMParser().parseFromString(ctx.text || "", "text/html");
  const message = page.querySelector("[data-message]")?.textContent || "Sluice did not answer. Try again in a moment.";
  toast({ level: "error", message, retry: ctx.request.method === "GET" && ctx.sourceEvent && (() => again(ctx)) });
});
on("htmx:before:history:update", (event) => { // what did not answer is not where one is
  if (event.detail.response?.status >= 400) event.preventDefault();
});
const explained = (ctx) => ctx.swap !== "none" && ctx.status === "swapped";
function again({ sourceElement: one, sourceEvent: { type } }) {
  if (one.isConnected) one.dispatchEvent(new Event(type, { bubbles: true, cancelable: true }));
}

// Swaps: the focus and the log's end stay where they were
let place = null;
on("htmx:before:swap", () => {
  const row = document.activeElement?.closest("tr[id], li[id]");
  place = row && { here: row.id, next: row.nextElementSibling?.id };
  for (const log of document.querySelectorAll("[data-follow]"))
    log.atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4;
});
on("htmx:after:swap", ({ detail: { ctx } }) => {
  if (ctx.swap === "none") return;
  if (isOurs(ctx)) openDialog(ctx);
  if (ctx.target?.id === "palette-list") offer();
  if (ctx.response.status === 422) $("dialog").querySelector("[aria-invalid]")?.focus();
  if (ctx.sourceElement.closest?.("[role=search]")) say(`${document.querySelector("[data-count]")?.textContent} tasks`);
  if (place && document.activeElement === document.body) focusNear(place);
  followLogs();
});
function followLogs() { // what is new of a running task begins at its end
  for (const log of document.querySelectorAll("[data-follow]"))
    if (log.atEnd ?? log.closest("[data-runs]")) log.scrollTop = log.scrollHeight;
}
on("DOMContentLoaded", followLogs);
function focusNear({ here, next }) {
  const row = $(here) || $(next);
  const stop = row?.querySelector("a, button") || document.querySelector("h1");
  if (!stop.matches("a, button")) stop.tabIndex = -1;
  stop.focus({ preventScroll: true });
}

// The badge of the header
setInterval(() => { if ($("live")?.dataset.rate !== "off") document.dispatchEvent(new CustomEvent("aside")); }, 5000);

// Copying, also where browsers keep their clipboard from pages without HTTPS
on("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = $(button.dataset.copy).textContent;
  try { await navigator.clipboard.writeText(text); } catch { copyByHand(text, button); }
  say("Copied");
  button.dataset.copied = "";
  setTimeout(() => delete button.dataset.copied, 1500);
});
function copyByHand(text, near) {
  const field = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
  near.after(field); // inside of an open dialog, where it can be selected
  field.select();
  document.execCommand("copy");
  field.remove();
  near.focus();
}

// Plain forms are sent once; Back gives them again
on("submit", (event) => setTimeout(() => {
  if (event.defaultPrevented) return;
  for (const one of event.target.querySelectorAll("[type=submit]")) one.disabled = true;
}));
addEventListener("pageshow", (event) => {
  if (event.persisted) document.querySelectorAll("form:not([hx-post]) [type=submit]").forEach((one) => { one.disabled = false; });
});
