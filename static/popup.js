// Popups: one native dialog, filled by htmx. One request at a time: a new GET aborts the one before it (hx-sync), and so
// does closing. A POST is never aborted: its form is locked while it runs, and when the form is gone its answer is a
// message. What was typed is not discarded unasked.
(() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const app = () => window.blockconsole;
  const dialog = () => $("#popup");
  const content = () => $("#popup-body");
  const inPopup = (element) => Boolean(element?.closest?.("#popup"));

  // ---- open and close ----
  let opener = null;

  function open() {
    const fresh = !dialog().open;
    if (fresh) {
      dialog().showModal();
      dialog().append($("#messages")); // what lies outside a modal dialog cannot be seen, read or closed
    }
    const field = $("[aria-invalid=true]", dialog()) || $("[data-form-error]", dialog()) ||
      $("[autofocus]", dialog()) || $("#popup-title", dialog());
    field?.focus();
    if (fresh && field?.select && field.type === "text" && field.value) field.select();
  }

  function close() {
    for (const ctx of loading) ctx.request.abort();
    if (dialog().open) dialog().close();
    if (dialog().contains($("#messages"))) document.body.append($("#messages"));
    content().replaceChildren();
    const back = opener;
    opener = null;
    if (back?.isConnected && !back.hidden) back.focus();
    else $("#content")?.focus({ preventScroll: true });
  }

  // A popup is closed by its own form: a late answer comes from the document, since its form is gone.
  document.addEventListener("popup:close", (event) => { if (event.target !== document) close(); });
  document.addEventListener("cancel", (event) => {
    if (event.target === dialog()) { event.preventDefault(); leave(); }
  }, true); // it does not bubble
  document.addEventListener("close", (event) => { // the browser lets a second Esc close it unasked
    if (event.target === dialog() && content().childElementCount) close();
  }, true);
  // A click on the backdrop closes a popup in which nothing was typed.
  document.addEventListener("pointerdown", (event) => {
    if (event.target !== dialog() || !dialog().open) return;
    const box = dialog().getBoundingClientRect();
    const outside = event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom;
    if (outside && !isTyped()) close();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#popup [data-close]");
    if (!button || button.getAttribute("aria-disabled") === "true") return;
    event.preventDefault();
    if (button.matches(".popup-x")) leave();
    else close();
  }, true);

  // ---- what was typed ----
  function isTyped() {
    const form = $("form[hx-post]", dialog());
    if (!form || form.ariaBusy === "true") return false; // what is being sent is not lost
    if ($("[data-form-error], [aria-invalid=true]", form)) return true; // typed, and refused
    return $$("input, textarea", form).some((field) => field.type !== "hidden" && field.value !== field.defaultValue);
  }

  // leave goes on with then, and asks first when something was typed. To ask twice would be nagging: the second time is yes.
  function leave(then = close) {
    if (!isTyped() || $(".popup-ask", dialog())) { then(); return; }
    const before = document.activeElement;
    $("#popup-form").append($("#ask-discard").content.cloneNode(true));
    const ask = $(".popup-ask", dialog());
    $("[data-discard]", ask).addEventListener("click", then);
    $("[data-keep]", ask).addEventListener("click", () => {
      ask.remove();
      before?.focus();
    });
    $("[data-keep]", ask).focus();
  }

  // ---- requests ----
  const loading = new Set(); // GETs under way
  const sent = new WeakMap(); // POSTs of popups, with their content

  document.addEventListener("htmx:before:request", (event) => {
    const { ctx } = event.detail;
    const source = ctx.sourceElement;
    const ours = ctx.target?.id === "popup-body";
    if (ctx.request.method === "POST") {
      if (inPopup(source)) lock(ctx);
    } else if (ours || inPopup(source)) {
      loading.add(ctx);
      if (!ours || inPopup(source)) return;
      opener = app().leaveRowMenu(source) ?? source;
      opener.ariaBusy = "true";
      ctx.opener = opener;
    }
  });
  document.addEventListener("htmx:finally:request", (event) => {
    const { ctx } = event.detail;
    loading.delete(ctx);
    if (ctx.opener) ctx.opener.ariaBusy = null;
    if (sent.has(ctx)) unlock(ctx);
  });

  // A form that is being sent cannot be changed. Its buttons to close stay.
  function lock(ctx) {
    const form = ctx.sourceElement;
    ctx.focus = document.activeElement;
    sent.set(ctx, $("#popup-form"));
    form.ariaBusy = "true";
    for (const part of $$(".popup-body", form)) part.inert = true;
    $(".popup-foot [data-close]", form)?.focus();
  }

  function unlock(ctx) {
    const form = ctx.sourceElement;
    if (!form.matches("form")) return; // its answer has replaced it
    form.ariaBusy = null;
    for (const part of $$(".popup-body", form)) part.inert = false;
    if (!form.isConnected) return;
    const back = form.contains(ctx.focus) ? ctx.focus : $(".popup-submit", form);
    setTimeout(() => back.focus()); // htmx enables the button first
  }

  // ---- late answers ----
  const isLate = (ctx) => sent.has(ctx) && !ctx.sourceElement.isConnected;

  // showAgain is what the button of a late message does: it opens the popup with what came back, or with what was sent.
  const showAgain = (fill) => () => leave(() => {
    for (const ctx of loading) ctx.request.abort();
    fill();
  });

  function showSent(form) {
    content().replaceChildren(form);
    open();
  }

  // sentence is what a refusal says, with the title of its popup.
  function sentence(html) {
    const answer = new DOMParser().parseFromString(html, "text/html");
    const said = $$("[data-form-error] p, .field-error span, .callout-title, .lead", answer).map((part) => part.textContent.trim());
    return $("#popup-title", answer)?.textContent + " — " + [...new Set(said)].join(" ");
  }

  document.addEventListener("htmx:before:swap", (event) => {
    const { ctx } = event.detail;
    const { status } = ctx.response ?? {};
    if (!isLate(ctx) || status < 400 || (event.defaultPrevented && status !== 401)) return; // a success is a message already
    event.preventDefault();
    if (!ctx.text.includes('id="popup-form"')) { // the session ended, or it is not our own
      app().showAlert(status === 401 ? "alert-unsent" : "alert-server", { form: formOf(ctx) });
      return;
    }
    const answer = { text: ctx.text, sourceElement: document.body, target: content(), swap: "innerHTML" };
    app().showAlert("alert-late", { text: sentence(ctx.text), form: showAgain(() => htmx.swap(answer)) });
  });
  document.addEventListener("htmx:after:swap", (event) => {
    const { ctx } = event.detail;
    if (ctx.target?.id === "popup-body" && $("#popup-form", ctx.target)) open();
  });

  // ---- for the other scripts ----
  // formOf is how the form of a failed request is shown again; undefined: it is still there.
  const formOf = (ctx) => (isLate(ctx) ? showAgain(() => showSent(sent.get(ctx))) : undefined);
  window.popups = Object.freeze({ formOf });
})();
