"use strict"; // The pause dialog: its title and its button say what is chosen, at once. The counts come from the server.
function tellChoice() {
  const form = document.querySelector("[data-pause-form]");
  if (!form) return;
  const chosen = form.querySelectorAll("#pauses-candidates :checked").length;
  const { noun } = form.dataset;
  form.querySelector("[data-submit-text]").textContent = chosen > 1 ? `Pause ${chosen.toLocaleString("en")} ${noun}s` : `Pause ${noun}`;
  const scope = form.querySelector("[data-scope-name]");
  const others = form.querySelectorAll("[name=also]:checked").length;
  scope.textContent = form.querySelector("[name=scope][value=system]:checked") ? "the whole system"
    : scope.dataset.business + (others ? ` and ${others} more` : "");
}
on("change", (event) => {
  tellChoice();
  if (event.target.matches(".until [value=at]")) $("pauses-until-box").scrollIntoView({ block: "nearest" });
});
on("htmx:after:swap", ({ detail: { ctx } }) => {
  tellChoice();
  if (ctx.response.status === 409) $("pauses-impact")?.focus(); // not the button: a second press must be meant
});
on("DOMContentLoaded", tellChoice);
