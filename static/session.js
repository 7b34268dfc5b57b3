// The session ended under a page. What is on the page stays, and one may sign in beside it: a click goes to the sign-in
// page only when there is no popup to lose.
(() => {
  "use strict";
  const app = () => window.blockconsole;
  const dialog = () => document.getElementById("sign-in");
  const content = () => document.getElementById("sign-in-body");

  function ask() {
    const next = encodeURIComponent(location.pathname + location.search);
    htmx.ajax("GET", "/login?next=" + next, { source: content(), target: content(), swap: "innerHTML" });
  }

  document.addEventListener("session:expired", (event) => {
    const { target } = event;
    const clicked = target !== document && !app().isBackground(target) && !target.matches("input"); // which asks while one types
    if (clicked && !document.getElementById("popup").open) {
      location.href = event.detail.address;
      return;
    }
    if (!document.querySelector("#messages [data-template=alert-ended]")) app().showAlert("alert-ended", { act: ask }); // its button may have the focus
    if (clicked) ask();
  });
  document.addEventListener("htmx:after:swap", (event) => {
    if (event.detail.ctx.target?.id !== "sign-in-body" || !content().childElementCount) return;
    if (!dialog().open) dialog().showModal();
    content().querySelector("[autofocus]")?.focus();
  });
  document.addEventListener("session:renewed", () => {
    app().removeAlerts("alert-ended");
    close();
  });
  document.addEventListener("click", (event) => { if (event.target.closest?.("#sign-in [data-close]")) close(); });

  function close() {
    dialog().close();
    content().replaceChildren();
  }
})();
