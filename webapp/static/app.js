"use strict"; // What htmx does not do by itself: the dialog, toasts, live refresh, the theme and a few keys.
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const POLLS = '[hx-trigger*="every"]';
  const on = (name, act) => document.addEventListener(name, act);
  const say = (text) => { $("announce").textContent = text; };

  // Requests
  on("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    const { request } = ctx;
    if (request.method !== "GET") request.headers["X-CSRFToken"] = document.querySelector("meta[name=csrf-token]")?.content;
    else for (const [name, value] of [...request.body]) if (value === "") request.body.delete(name);
    if (isPoll(ctx) && (document.hidden || $("dialog").open)) event.preventDefault();
  });
  const isPoll = (ctx) => ctx.sourceEvent?.type === "every";

  // Live refresh: how old the data is
  let fresh = Date.now(), failures = 0;
  on("htmx:finally:request", ({ detail: { ctx } }) => {
    const aborted = ctx.request.signal.aborted && ctx.request.signal.reason !== "timeout";
    const ok = ctx.response && ctx.response.status < 400;
    if (ok) {
      if (ctx.request.method === "GET") { fresh = Date.now(); failures = 0; }
      if (ctx.sourceElement.matches?.("[data-closes]")) leave();
    } else if (isPoll(ctx)) {
      if (!aborted && ++failures === 3) say("The connection is lost. What you see may be old.");
    } else if (!aborted && ctx.response?.status !== 422 && ctx.hx?.redirect === undefined && !explained(ctx)) {
      const page = new DOMParser().parseFromString(ctx.text || "", "text/html");
      toast({ level: "error", message: page.querySelector("[data-message]")?.textContent || "Sluice did not answer. Try again in a moment." });
    }
    tell();
  });
  const explained = (ctx) => ctx.swap !== "none" && ctx.status === "swapped";
  const age = () => {
    const s = Math.round((Date.now() - fresh) / 1000);
    return s < 5 ? "just now" : s < 60 ? `${s} s ago` : `${Math.floor(s / 60)} min ago`;
  };
  function tell() {
    const live = $("live");
    if (!live) return;
    const lost = failures > 2;
    live.hidden = !document.querySelector(POLLS);
    live.toggleAttribute("data-lost", lost);
    live.toggleAttribute("data-rests", $("dialog").open);
    const text = lost ? `No answer. Updated ${age()}` : `Updated ${age()}`;
    if ($("live-text").textContent !== text) $("live-text").textContent = text;
  }
  setInterval(tell, 1000);
  const refresh = () => document.querySelectorAll(POLLS).forEach((one) => one.dispatchEvent(new CustomEvent("every")));
  on("visibilitychange", () => document.hidden || refresh());

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
    if (ctx.target?.id === "dialog-body") open();
    if (ctx.response.status === 422) $("dialog").querySelector("[aria-invalid]")?.focus();
    if (ctx.sourceElement.closest?.("[role=search]")) say(`${document.querySelector("[data-count]")?.textContent} tasks`);
    if (place && document.activeElement === document.body) focusNear(place);
    document.querySelectorAll("[data-follow]").forEach((log) => { if (log.atEnd) log.scrollTop = log.scrollHeight; });
    weigh();
  });
  function focusNear({ here, next }) {
    const row = $(here) || $(next);
    const stop = row?.querySelector("a, button") || document.querySelector("h1");
    if (!stop.matches("a, button")) stop.tabIndex = -1;
    stop.focus({ preventScroll: true });
  }

  // The dialog
  let opener = null, typed = false;
  on("click", (event) => { opener = event.target.closest("[data-dialog]") || opener; });
  function open() {
    typed = false;
    if (!$("dialog").open) $("dialog").showModal();
    if (!$("dialog").querySelector("[autofocus]")) $("dialog-title")?.focus();
    tell();
  }
  function leave() { typed = false; $("dialog").close(); }
  const dismiss = () => { if (!typed) leave(); };
  on("input", (event) => { if (event.target.closest("#dialog") && event.target.type !== "search") typed = true; });
  document.addEventListener("cancel", (event) => { if (event.target === $("dialog") && typed) event.preventDefault(); }, true);
  document.addEventListener("close", (event) => {
    if (event.target !== $("dialog")) return;
    document.body.append($("toasts"));
    $("dialog-body").replaceChildren();
    const back = $(opener?.id);
    if (back) back.focus({ preventScroll: true });
    refresh();
  }, true);
  on("mousedown", (event) => { if (event.target === $("dialog")) dismiss(); });
  on("click", (event) => { if (event.target.closest("[data-close]")) leave(); });

  // The pause dialog: what the ticked ones hold back
  function weigh() {
    const form = document.querySelector("[data-pause-form]");
    if (!form) return;
    const chosen = [...form.querySelectorAll("[data-waiting]:checked")];
    const total = (name) => chosen.reduce((sum, one) => sum + Number(one.dataset[name]), 0);
    const many = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
    const { noun } = form.dataset;
    form.querySelector("[data-submit-text]").textContent = chosen.length > 1 ? `Pause ${many(chosen.length, noun)}` : `Pause ${noun}`;
    const blast = form.querySelector("[data-blast]");
    blast.hidden = !chosen.length;
    form.querySelector("[data-blast-plain]").hidden = chosen.length > 0;
    blast.textContent = `${many(total("waiting"), "waiting task")} will be paused, ${total("running").toLocaleString("en")} running will finish.`;
    const scope = form.querySelector("[data-scope-name]");
    scope.textContent = form.querySelector("[name=scope][value=system]:checked") ? "the whole system" : scope.dataset.business;
  }
  on("change", weigh);

  // Toasts
  on("toast", (event) => toast(event.detail));
  function toast({ message, level = "success", href }) {
    const note = $("toast-template").content.firstElementChild.cloneNode(true);
    note.dataset.level = level;
    if (level === "error") note.setAttribute("role", "alert");
    note.querySelector("p").textContent = message;
    const link = note.querySelector("a");
    if (href) { link.href = href; link.hidden = false; }
    $("toasts").append(note);
    if ($("dialog").open) $("dialog").append($("toasts")); // else it would lie behind, out of reach
    keep(note);
    while ($("toasts").children.length > 3) $("toasts").firstElementChild.remove();
  }
  function keep(note) {
    let left = 10;
    const tick = setInterval(() => {
      if (note.dataset.level === "error" || note.matches(":hover, :focus-within") || document.hidden || --left) return;
      clearInterval(tick);
      note.remove();
    }, 1000);
  }
  on("click", (event) => { if (event.target.closest(".toast-note button")) event.target.closest(".toast-note").remove(); });

  // Menus, the theme, keys, plain forms
  on("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    if (event.target.closest("#theme")) {
      root.dataset.bsTheme = root.dataset.bsTheme === "dark" ? "light" : "dark";
      try { localStorage.theme = root.dataset.bsTheme; } catch { /* it lasts as long as the page */ }
    }
    const demo = event.target.closest("[data-email]");
    if (demo) {
      $("login-email").value = demo.dataset.email;
      $("login-password").value = demo.dataset.password;
      $("auth-login").requestSubmit();
    }
  });
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
  on("submit", (event) => setTimeout(() => {
    if (event.defaultPrevented) return;
    for (const one of event.target.querySelectorAll("[type=submit]")) one.disabled = true;
  }));
  addEventListener("pageshow", (event) => {
    if (event.persisted) document.querySelectorAll("form:not([hx-post]) [type=submit]").forEach((one) => { one.disabled = false; });
  });
  on("DOMContentLoaded", () => { weigh(); tell(); document.querySelectorAll(".toast-note").forEach(keep); });
})();
