"use strict"; // Background-Tasks in a page of a host application: a button with a badge, and a dialog that frames Sluice.
(() => {
  const line = document.currentScript, base = new URL(".", line.src);
  const url = new URL(`b/${encodeURIComponent(line.dataset.business)}/background-tasks/embed`, base);
  const make = (name, attributes, ...inside) => {
    const one = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
    one.append(...inside);
    return one;
  };
  const number = make("span", { class: "number" }), badge = make("span", { class: "badge" }, number, make("span", { class: "unseen" }, " open"));
  const button = make("button", { type: "button", class: "open", "aria-haspopup": "dialog" }, "Background-Tasks", badge);
  const close = make("button", { type: "button", class: "close", "aria-label": "Close" }, "✕");
  const dialog = make("dialog", { "aria-label": "Background-Tasks" }, close);
  const place = make("sluice-background-tasks", {}), root = place.attachShadow({ mode: "open" }), sheet = new CSSStyleSheet();
  sheet.replaceSync(`
    .open { display: inline-flex; align-items: center; gap: .5em; min-height: 2.75rem; padding: 0 .875em; font: inherit; color: inherit; background: none; border: 1px solid; border-radius: .5em; cursor: pointer; }
    .badge { min-width: 1.25em; padding: .125em .375em; font-size: .8em; font-weight: 600; color: #fff; background: #0a5db0; border-radius: 1em; }
    .badge[hidden] { display: none; }
    .unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
    dialog { color-scheme: light dark; width: 48rem; max-width: calc(100vw - 2rem); height: 42rem; max-height: calc(100dvh - 2rem); padding: 0; color: CanvasText; background: Canvas; border: 1px solid GrayText; border-radius: 12px; overflow: hidden; }
    dialog[open] { display: flex; flex-direction: column; }
    dialog::backdrop { background: rgb(10 14 22 / 45%); }
    .close { align-self: flex-end; width: 2.75rem; height: 2.75rem; font: 1.125rem/1 system-ui, sans-serif; color: inherit; background: none; border: 0; cursor: pointer; }
    button:focus-visible { outline: 2px solid; outline-offset: -2px; }
    iframe { flex: 1; width: 100%; border: 0; }
    @media (max-width: 600px) { dialog { width: 100vw; max-width: 100vw; height: 100dvh; max-height: 100dvh; border: 0; border-radius: 0; } }`);
  root.adoptedStyleSheets = [sheet];
  badge.hidden = true;
  root.append(button, dialog);
  line.after(place);

  let frame = null, timer = 0;
  button.onclick = () => {
    frame = make("iframe", { src: url, title: "Background-Tasks" });
    frame.onload = () => {
      frame.focus();
      frame.contentWindow.postMessage("sluice:opened", base.origin);
    };
    dialog.append(frame);
    dialog.showModal();
  };
  close.onclick = () => dialog.close();
  dialog.onclick = ({ target }) => { if (target === dialog) dialog.close(); };
  dialog.onclose = () => {
    frame.remove();
    frame = null;
    button.focus();
    count();
  };
  addEventListener("message", ({ source, origin, data }) => {
    if (frame && source === frame.contentWindow && origin === base.origin && data === "sluice:close") dialog.close();
  });

  // The badge. Whoever is not logged in is not asked for again until something happens.
  async function count() {
    clearTimeout(timer);
    if (document.hidden) return;
    const answer = await fetch(`${url}/count`, { credentials: "include" }).catch(() => null);
    const { unfinished = 0, is_capped = false } = answer?.ok ? await answer.json() : {};
    number.textContent = `${unfinished}${is_capped ? "+" : ""}`;
    badge.hidden = !unfinished;
    if (answer?.ok) timer = setTimeout(count, 15000);
  }
  document.addEventListener("visibilitychange", count);
  count();
})();
