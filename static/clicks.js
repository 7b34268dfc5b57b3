// Clicks and keys that belong to the browser or to the one who types: modified clicks, choices made by arrows,
// Enter in a search, hints beside a field.
(() => {
  "use strict";

  // ---- a click with Ctrl, Shift, Alt or ⌘ is the browser's: it opens a tab, a window, or saves ----
  // After app.js, which holds back what is disabled; before htmx, which would open the popup.
  document.addEventListener("click", (event) => {
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey;
    if (modified && event.target.closest?.("a[href][hx-get], button[formaction][hx-get]")) event.stopPropagation();
  }, true);

  // ---- a filter applies at once when it is chosen with the mouse or by Enter; arrows only go through its choices ----
  let lastKey = ""; // pressed in the filter since it has the focus and no mouse came; empty: none

  const filterOf = (event) => event.target.closest?.("select[data-submit]");
  const pending = (filter) => filter.form.toggleAttribute("data-pending", filter.value !== (filter.querySelector("option[selected]")?.value ?? ""));

  for (const type of ["pointerdown", "focusout"]) {
    document.addEventListener(type, (event) => { if (filterOf(event)) lastKey = ""; });
  }
  document.addEventListener("keydown", (event) => {
    const filter = filterOf(event);
    if (!filter) return;
    lastKey = event.key;
    if (event.key === "Enter" && filter.form.hasAttribute("data-pending")) {
      event.preventDefault();
      filter.form.requestSubmit();
    }
  });
  document.addEventListener("change", (event) => {
    const filter = filterOf(event);
    if (!filter) return;
    if (lastKey === "" || lastKey === "Enter") filter.form.requestSubmit();
    else pending(filter);
  });

  // ---- a field that asks the server while one types: a moment after the last key, unless its popup has closed ----
  const askAfter = 200; // ms
  const askTimers = new WeakMap(); // by field

  function ask(field) {
    clearTimeout(askTimers.get(field));
    if (field.isConnected) htmx.trigger(field, "ask");
  }
  document.addEventListener("input", ({ target }) => {
    if (!target.matches?.("[data-ask]")) return;
    clearTimeout(askTimers.get(target));
    askTimers.set(target, setTimeout(ask, askAfter, target));
  });

  // ---- Enter in the search of a form, and its button, find at once and send nothing ----
  for (const type of ["keydown", "click"]) {
    document.addEventListener(type, (event) => {
      const search = event.target.closest?.("form:has(button[name=find])")?.elements.q;
      const asked = type === "click" ? event.target.closest("button[name=find]") : event.target === search && event.key === "Enter" && !event.isComposing;
      if (!search || !asked) return;
      event.preventDefault();
      event.stopPropagation();
      ask(search);
    }, true);
  }

  // ---- a hint that cannot be had is no message: before app.js, which shows one ----
  for (const type of ["htmx:before:swap", "htmx:error"]) {
    document.addEventListener(type, (event) => {
      const { ctx } = event.detail;
      if (ctx?.sourceElement?.getAttribute("hx-target") !== "#name-hint" || ctx.response?.status < 400) return;
      event.preventDefault();
      event.stopPropagation();
    }, true);
  }
})();
