// What pages do beyond links and forms. Every page works without this file.
// No eval and no inline handlers (content security policy); all texts are in the page.
(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const popup = () => $("#popup");

  // ---- messages: successes fade, errors stay until closed ----
  const fadeAfter = 6000; // ms

  function watchAlerts(root = $("#messages")) {
    for (const alert of $$(".alert:not([data-sticky]):not([data-seen])", root || document)) {
      alert.dataset.seen = "";
      let timer = 0;
      const arm = () => { timer = setTimeout(() => dismiss(alert), fadeAfter); };
      alert.addEventListener("pointerenter", () => clearTimeout(timer));
      alert.addEventListener("pointerleave", arm);
      arm();
    }
  }

  function dismiss(alert) {
    alert.classList.add("going");
    setTimeout(() => alert.remove(), 420);
  }

  // showAlert shows the message of a template, with a text or a request id of its own; act is what its button does, which
  // may be to show a form. It replaces the one that was there.
  function showAlert(id, { text, requestID, form, act = form } = {}) {
    const template = document.getElementById(id);
    const messages = $("#messages");
    if (!template || !messages) return;
    const alert = template.content.firstElementChild.cloneNode(true);
    alert.dataset.template = id;
    if (text) $("p", alert).textContent = text;
    const slot = $("[data-request-id]", alert);
    const copy = $("[data-copy]", alert);
    if (slot && requestID) slot.textContent = requestID;
    if (copy && requestID) copy.dataset.copy = requestID;
    else copy?.remove();
    const button = $("[data-show]", alert);
    if (act) button.addEventListener("click", () => { if (form) alert.remove(); act(); });
    else button?.remove();
    if (form) alert.dataset.form = "";
    else removeAlerts(id);
    messages.append(alert);
    watchAlerts();
  }

  // removeAlerts removes the messages of a template whose reason is gone, but none that still shows a form.
  function removeAlerts(id) {
    for (const alert of $$(`#messages [data-template="${id}"]:not([data-form])`)) alert.remove();
  }

  const inDialog = (element) => element.closest?.("dialog") !== null;

  // ---- requests that fail: the popup and what was typed stay ----
  const isBackground = (element) => ["live", "list", "found", "object"].includes(element?.id); // live.js tries again

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx } = event.detail;
    const status = ctx.response?.status;
    if (!status || status < 400 || isBackground(ctx.sourceElement)) return;
    if (ctx.hx?.trigger?.includes("session:expired")) {
      event.preventDefault(); // nothing came: session.js tells
    } else if (status >= 500 && status !== 507) { // which carries the form and why it could not be saved
      event.preventDefault();
      showAlert("alert-server", { requestID: ctx.response.headers.get("X-Request-Id"), form: window.popups.formOf(ctx) });
    }
  });
  document.addEventListener("htmx:error", (event) => {
    const { ctx } = event.detail;
    if (!ctx?.sourceElement || ctx.text !== undefined) return; // there was a whole answer
    if (!isBackground(ctx.sourceElement)) showAlert("alert-lost", { form: window.popups.formOf(ctx) });
  });
  document.addEventListener("htmx:after:request", () => removeAlerts("alert-lost")); // there was an answer

  document.addEventListener("htmx:after:swap", () => {
    initContent();
    showPicks();
  });

  // ---- forms: outside the dialog they are plain; nothing is sent twice ----
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.hasAttribute("hx-post") && !inDialog(form)) event.stopImmediatePropagation();
    if (form.method !== "post" || inDialog(form)) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
  }, true);
  window.addEventListener("pageshow", (event) => {
    for (const form of $$("form[data-sent]")) delete form.dataset.sent;
  });

  // ---- the selection is kept by id: rows that are not on this page any more stay selected, and Back ticks the same ones ----
  const picked = new Map(); // id -> the row, or a copy without its cells
  const pickedBefore = history.state?.picked; // when this page was left
  const boxOf = (id) => document.getElementById("rows")?.querySelector(`input[name=id][value="${CSS.escape(id)}"]`);

  // readPicks takes over what was ticked and unticked on the page.
  function readPicks() {
    for (const box of $$("#rows input[name=id]")) {
      if (box.checked) picked.set(box.value, box.closest("tr"));
      else picked.delete(box.value);
    }
    showPicks();
  }

  // showPicks ticks the selected rows of a page that has changed. Those elsewhere are sent by boxes outside the table.
  function showPicks() {
    for (const box of $$("#rows input[name=id]")) {
      box.checked = picked.has(box.value);
      if (box.checked) picked.set(box.value, box.closest("tr"));
    }
    const away = [...picked.keys()].filter((id) => !boxOf(id));
    for (const id of away) if (picked.get(id).isConnected || !picked.get(id).dataset.away) leavePage(id);
    $("#away")?.replaceChildren(...away.map((id) => Object.assign(document.createElement("input"), { type: "hidden", name: "id", value: id })));
    const ids = [...picked.keys()];
    if (String(history.state?.picked ?? []) !== String(ids)) history.replaceState({ ...history.state, picked: ids }, "");
    syncToolbar();
  }

  // leavePage keeps what the toolbar needs of a row, and drops one that is gone altogether.
  async function leavePage(id) {
    const copy = picked.get(id).cloneNode(false);
    copy.dataset.away = "true";
    picked.set(id, copy);
    const found = await fetch(location.pathname + "?q=" + encodeURIComponent(id), { headers: { Accept: "application/json" } })
      .then((answer) => answer.ok && answer.json()).catch(() => false); // none, or half of one
    if (found && found.items.length === 0 && picked.delete(id)) showPicks();
  }

  function clearPicks() {
    picked.clear();
    showPicks();
  }

  addEventListener("pageshow", (event) => {
    const [navigation] = performance.getEntriesByType("navigation");
    const before = !event.persisted && navigation?.type === "back_forward" ? pickedBefore : undefined;
    if (!before) { readPicks(); return; } // the page as it was left, or a new one
    for (const id of before) picked.set(id, document.createElement("tr"));
    showPicks();
  });

  // ---- the toolbar follows the selection ----

  function disabledReason(button, rows) {
    const action = button.dataset.action;
    const need = button.dataset.need;
    if (need === "any" && rows.length !== 1) return "";
    if (rows.length === 0) return button.dataset.none;
    if (need === "one" && rows.length > 1) return button.dataset.many;
    const denied = rows.map((row) => row.getAttribute("data-deny-" + action)).filter(Boolean);
    return need !== "any" && denied.length === rows.length ? denied[0] : "";
  }

  function syncToolbar() {
    const rows = [...picked.values()];
    for (const button of $$(".toolbar button[data-action]:not([data-locked])")) {
      const why = disabledReason(button, rows);
      const tip = document.getElementById("why-" + button.dataset.action);
      if (tip && tip.textContent !== why) tip.textContent = why;
      if (why) button.setAttribute("aria-disabled", "true");
      else button.removeAttribute("aria-disabled");
    }
    const all = $$("#rows input[name=id]");
    const pickAll = $("#pick-all");
    if (pickAll) {
      const ticked = all.filter((box) => box.checked).length;
      pickAll.checked = all.length > 0 && ticked === all.length;
      pickAll.indeterminate = ticked > 0 && ticked < all.length;
      pickAll.disabled = all.length === 0;
    }
    const selected = $("#selected");
    if (selected) {
      const away = rows.filter((row) => row.dataset.away).length;
      selected.hidden = rows.length === 0;
      $("#unpick").hidden = away === 0;
      selected.firstElementChild.textContent = selected.dataset[away > 0 ? "away" : "text"].replace("#", String(rows.length)).replace("#", String(away));
    }
  }

  let lastClickedBox = null;
  document.addEventListener("change", (event) => {
    if (event.target.id === "pick-all") {
      for (const box of $$("#rows input[name=id]")) box.checked = event.target.checked;
    }
    if (event.target.closest?.("#rows")) readPicks();
  });
  // Shift extends the selection from the last ticked row.
  document.addEventListener("click", (event) => {
    const box = event.target.closest?.("#rows input[name=id]");
    if (!box) return;
    if (event.shiftKey && lastClickedBox?.isConnected && lastClickedBox !== box) {
      const boxes = $$("#rows input[name=id]");
      const [from, to] = [boxes.indexOf(lastClickedBox), boxes.indexOf(box)].sort((a, b) => a - b);
      for (const each of boxes.slice(from, to + 1)) each.checked = box.checked;
      readPicks();
    }
    lastClickedBox = box;
  });

  // ---- the limits of the project follow what is typed and chosen in a popup ----
  const digits = new Intl.NumberFormat("en-US");

  function syncQuotas() {
    for (const box of $$("[data-quotas]")) {
      const form = box.closest("form");
      const size = form.elements.size_gib;
      const volume = $("input[name=volume_id]:checked", form);
      const gib = size ? Number(size.value) : Number(volume?.dataset.gib);
      const type = form.elements.volume_type?.value ?? volume?.dataset.type;
      for (const item of $$(".quota", box)) syncQuota(item, gib, type, Boolean(size || volume));
    }
  }

  function syncQuota(item, gib, type, known) {
    if (item.dataset.for && type !== undefined) item.hidden = item.dataset.for !== type;
    if (item.dataset.per !== "gib" || !known) return;
    const [used, limit, base] = ["used", "limit", "base"].map((name) => Number(item.dataset[name]));
    const asked = Number.isInteger(gib) && gib > base ? gib - base : 0;
    const part = (amount, start) => Math.max(0, Math.min(limit > 0 ? Math.floor(amount * 1000 / limit) : 1000, 1000 - start));
    const over = asked > 0 && used + asked > limit;
    $("[data-asked]", item).textContent = digits.format(asked);
    $(".quota-asked", item).setAttribute("width", part(asked, part(used, 0)));
    $(".quota-bar", item).setAttribute("aria-valuenow", Math.min(used + asked, Math.max(limit, 1)));
    $(".quota-note", item).hidden = !over;
    item.classList.toggle("quota-over", over);
  }
  for (const type of ["input", "change"]) {
    document.addEventListener(type, (event) => { if (event.target.form && $("[data-quotas]", event.target.form)) syncQuotas(); });
  }

  // ---- clicks that must not act, and small buttons ----
  document.addEventListener("click", (event) => {
    const element = event.target.closest?.("a, button");
    if (!element) return;
    if (element.getAttribute("aria-disabled") === "true") {
      event.preventDefault();
      event.stopImmediatePropagation();
    } else if (element.dataset.preference && $("main #typed") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      const form = $("main #typed");
      form.action = "/show?" + element.dataset.preference; // as it was typed
      form.submit();
    } else if (element.id === "unpick") {
      clearPicks();
    } else if (element.hasAttribute("data-dismiss")) {
      dismiss(element.closest(".alert"));
    } else if (element.hasAttribute("data-copy")) {
      navigator.clipboard?.writeText(element.dataset.copy).then(() => showAlert("alert-copied"), () => {});
    } else if (element.hasAttribute("data-row-menu") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      if (showRowMenu(element)) event.preventDefault();
    }
  }, true);

  // ---- the row menu: one element, filled for the row that asks ----
  let menuOwner = null;

  function hideRowMenu() {
    const menu = $("#row-menu");
    if (menu?.matches(":popover-open")) menu.hidePopover();
  }

  function showRowMenu(button) {
    const menu = $("#row-menu");
    const template = $("#row-actions");
    if (!menu?.showPopover || !template?.content.childElementCount) return false;
    if (menu.matches(":popover-open") && menuOwner === button) { menu.hidePopover(); return true; }
    const row = button.closest("tr");
    const items = template.content.cloneNode(true);
    for (const item of $$("a", items)) {
      const why = row.getAttribute("data-deny-" + item.dataset.action);
      if (why && item.dataset.action !== "repair") {
        item.removeAttribute("href");
        item.setAttribute("role", "link");
        item.setAttribute("aria-disabled", "true");
        const small = document.createElement("small");
        small.textContent = why;
        item.append(small);
      } else if (why) {
        item.remove();
      } else {
        item.href = button.getAttribute("href") + "/" + item.dataset.path;
        item.setAttribute("hx-get", item.getAttribute("href"));
      }
    }
    menu.replaceChildren(items);
    htmx.process(menu);
    menuOwner = button;
    menu.showPopover();
    const place = button.getBoundingClientRect();
    const top = place.bottom + menu.offsetHeight + 8 > innerHeight ? place.top - menu.offsetHeight - 4 : place.bottom + 4;
    menu.style.insetBlockStart = Math.max(8, top) + "px";
    menu.style.insetInlineStart = Math.max(8, place.right - menu.offsetWidth) + "px";
    menu.style.insetInlineEnd = "auto";
    $("a[href]", menu)?.focus();
    return true;
  }
  addEventListener("scroll", hideRowMenu, { passive: true });

  // leaveRowMenu closes the menu, and returns the button of the row that an item of it acted for.
  function leaveRowMenu(item) {
    const owner = item.closest("#row-menu") && menuOwner;
    hideRowMenu();
    return owner;
  }

  // ---- keys ----
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !popup()?.open) {
      event.preventDefault();
      $("#global-search")?.focus();
    } else if (event.key === "Escape" && event.target.id === "global-search") {
      event.target.blur();
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && event.target.closest?.(".menu-pop")) {
      event.preventDefault();
      const items = $$("a[href], button", event.target.closest(".menu-pop"));
      const step = event.key === "ArrowDown" ? 1 : -1;
      items.at((items.indexOf(event.target) + step) % items.length)?.focus();
    }
  });

  // ---- ages and running clocks, by the server's time: the browser's clock may be wrong ----
  const units = JSON.parse(document.documentElement.dataset.ago || "[]");
  let ahead = 0; // ms by which the browser's clock is ahead of the server's

  function setServerTime(microseconds, age = 0) { // age: ms since the server said so
    if (microseconds > 0) ahead = Date.now() - age - microseconds / 1000;
  }

  const secondsSince = (microseconds) => Math.max(0, Math.floor((Date.now() - ahead - microseconds / 1000) / 1000));

  function formatAge(microseconds) {
    const seconds = secondsSince(microseconds);
    const [size, one, other] = units.find(([size]) => seconds >= size) || units.at(-1);
    const count = Math.floor(seconds / size);
    return (count === 1 ? one : other).replace("{0}", digits.format(count));
  }

  function formatElapsed(microseconds) {
    const seconds = secondsSince(microseconds);
    const two = (n) => String(n).padStart(2, "0");
    const rest = two(Math.floor(seconds / 60) % 60) + ":" + two(seconds % 60);
    return seconds < 3600 ? rest : Math.floor(seconds / 3600) + ":" + rest;
  }

  function updateTimes() {
    for (const element of $$("[data-at], [data-since]")) {
      const text = element.dataset.at ? formatAge(Number(element.dataset.at)) : formatElapsed(Number(element.dataset.since));
      if (element.textContent !== text) element.textContent = text;
    }
  }

  // Controls that do nothing without this file are hidden until it runs.
  function showScriptControls() {
    for (const element of $$("[data-script][hidden]")) element.hidden = false;
  }

  // initContent prepares what has just come into the page.
  function initContent() {
    showScriptControls();
    watchAlerts();
    syncQuotas();
    updateTimes();
  }

  window.blockconsole = Object.freeze({ showAlert, removeAlerts, isBackground, leaveRowMenu, updateTimes, setServerTime, syncToolbar, initContent });

  document.addEventListener("DOMContentLoaded", () => {
    const { responseStart = performance.now() } = performance.getEntriesByType("navigation")[0] || {};
    setServerTime(Number(document.documentElement.dataset.now), performance.now() - responseStart);
    initContent();
    syncToolbar();
    setInterval(() => { if (!document.hidden) updateTimes(); }, 1000);
  });
})();
