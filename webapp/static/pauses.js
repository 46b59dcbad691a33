"use strict"; // The pause dialog: what the ticked ones hold back.
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
on("htmx:after:swap", weigh);
on("DOMContentLoaded", weigh);
