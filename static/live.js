// The live stream of a list and of the pages of its objects: one per browser and list, shared between its windows.
// The window that holds the lock has the stream and relays every event; hidden windows have none.
(() => {
  "use strict";
  const retryFrom = 1000;
  const retryTo = 30000;
  const list = () => document.getElementById("list");
  const object = () => document.querySelector("#object[data-events]");
  const source = () => list() || object();
  const path = () => (source()?.dataset.events || "").split("?")[0];
  const page = () => window.blockconsole;

  let lastID = "";
  let channel = null;
  let release = null;   // ends our hold of the lock
  let waiting = null;   // aborts our wait for it
  let retry = retryFrom;
  let timer = 0;
  let started = null;   // the element whose stream has begun

  // ---- an event, ours or relayed ----
  function apply({ event, data, id }) {
    if (id) lastID = id;
    switch (event) {
      case "list":
        page().refreshList();
        page().lookAgain(); // it may be among what was not told one by one
        break;
      case "object":
        if (data.split(" ").some((id) => object()?.dataset.row.endsWith(id))) page().lookAgain();
        break;
      case "activity":
        showCount(data);
        break;
      case "told": // what this user asked for has failed; one window says so
        if (!document.hidden) tell(data);
        break;
      case "fresh":
        showFresh(data);
        break;
      case "":
      case undefined:
        swapRows(data);
        break;
    }
  }

  function swapRows(html) {
    page().noteEvent();
    const targets = [...html.matchAll(/hx-target="(#[A-Za-z0-9_-]+)"/g)].map((match) => match[1]);
    if (targets.some((target) => document.querySelector(target))) {
      htmx.swap({ text: html, sourceElement: document.body, target: document.body, swap: "none" });
    }
    if (list()?.hasAttribute("data-filtered")) page().refreshList();
    if (targets.includes("#" + object()?.dataset.row)) page().lookAgain();
  }

  function tell(html) {
    htmx.swap({ text: html, sourceElement: document.body, target: document.body, swap: "none" });
    page().settle();
  }

  function showCount(data) {
    const count = document.getElementById("activity-count");
    if (!count || !/^\d+$/.test(data)) return;
    count.textContent = data;
    count.dataset.count = data;
  }

  function showFresh(data) {
    const fresh = document.getElementById("fresh");
    if (!fresh || !/^\d+$/.test(data)) return;
    fresh.dataset.at = data;
    fresh.closest(".fresh").classList.remove("stale");
    page().tick();
  }

  // ---- the connection, in an element that the SSE extension serves ----
  function address() {
    const url = new URL(source().dataset.events, location.href);
    if (lastID) url.searchParams.set("after", lastID);
    return url.pathname + url.search;
  }

  function connect() {
    disconnect();
    if (!path()) return;
    const live = document.createElement("div");
    live.id = "live";
    live.hidden = true;
    live.setAttribute("hx-sse:connect", address());
    live.setAttribute("hx-swap", "none");
    document.body.append(live);
    htmx.process(live);
  }

  function disconnect() {
    clearTimeout(timer);
    const live = document.getElementById("live");
    if (!live) return;
    htmx.trigger(live, "htmx:abort"); // a request without an answer
    live.removeAttribute("hx-sse:connect");
    htmx.process(live, true); // htmx cleans up, and the extension ends its stream
    live.remove();
  }

  document.addEventListener("htmx:sse:before:message", (event) => {
    if (event.target.id !== "live") return;
    const { message } = event.detail;
    event.preventDefault();
    event.detail.cancelled = true;
    retry = retryFrom;
    const relayed = { event: message.event || "", data: message.data, id: message.id };
    channel?.postMessage(relayed);
    apply(relayed);
  });
  document.addEventListener("htmx:sse:after:connection", (event) => { started = event.target; });
  // The extension reconnects a stream that broke. One that never began is opened again here.
  document.addEventListener("htmx:finally:request", (event) => {
    const live = event.target;
    if (live.id !== "live" || !live.isConnected || live === started) return;
    page().markStale();
    timer = setTimeout(() => { if (document.getElementById("live") === live) connect(); }, retry * (0.7 + 0.6 * Math.random()));
    retry = Math.min(retry * 2, retryTo);
  });
  document.addEventListener("htmx:sse:error", () => page().markStale());

  // ---- what a window missed between its page and its first event ----
  const seen = () => Number(lastID || new URL(source()?.dataset.events || "", location.href).searchParams.get("after") || 0);

  function hear({ data }) {
    if (data.hello) {
      if (release) channel.postMessage({ at: seen() });
    } else if (data.at !== undefined) {
      if (!release && data.at > seen()) {
        page().refreshList();
        page().lookAgain();
      }
    } else {
      apply(data);
    }
  }

  // ---- the lock ----
  function compete() {
    if (!path() || release || waiting) return;
    if (!navigator.locks || !window.BroadcastChannel) { connect(); return; }
    const name = "live:" + document.documentElement.lang + ":" + path(); // rows are in a language
    if (!channel) {
      channel = Object.assign(new BroadcastChannel(name), { onmessage: hear });
      channel.postMessage({ hello: true });
    }
    waiting = new AbortController();
    navigator.locks.request(name, { signal: waiting.signal }, () => {
      waiting = null;
      connect();
      return new Promise((resolve) => { release = resolve; });
    }).catch(() => { waiting = null; });
  }

  function giveUp() {
    waiting?.abort();
    disconnect();
    release?.();
    release = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { giveUp(); return; }
    page().refreshList();
    if (object()) page().lookAgain();
    compete();
  });
  addEventListener("pagehide", giveUp);
  addEventListener("pageshow", (event) => { if (event.persisted && !document.hidden) compete(); });
  document.addEventListener("DOMContentLoaded", () => { if (!document.hidden) compete(); });
})();
