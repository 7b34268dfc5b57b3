// The event stream of a list and of the pages of its objects. The windows of a browser share one per list: the window
// that holds the lock has the stream and broadcasts its events to the others. Hidden windows neither hold nor wait.
(() => {
  "use strict";
  const minRetryDelay = 1000; // ms
  const maxRetryDelay = 30000;
  const list = () => document.getElementById("list");
  const object = () => document.querySelector("#object[data-events]");
  const container = () => list() || object();
  const path = () => (container()?.dataset.events || "").split("?")[0];
  const app = () => window.blockconsole;

  let lastEventID = "";
  let channel = null;
  let release = null; // releases the lock that this window holds
  let lockRequest = null; // AbortController of the pending request
  let retryDelay = minRetryDelay;
  let retryTimer = 0;
  let startedElement = null; // the element whose stream has begun

  // ---- an event, of this window's stream or broadcast ----
  function handleEvent({ event, data, id }) {
    if (id) lastEventID = id;
    switch (event) {
      case "list":
        app().refreshList();
        app().refreshObject(); // too many rows changed to be sent one by one
        break;
      case "object":
        if (data.split(" ").some((id) => object()?.dataset.row.endsWith(id))) app().refreshObject();
        break;
      case "activity":
        showCount(data);
        break;
      case "told": // an operation of this user failed; only the visible window shows it
        if (!document.hidden) showAlert(data);
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
    app().countEvent();
    const targets = [...html.matchAll(/hx-target="(#[A-Za-z0-9_-]+)"/g)].map((match) => match[1]);
    if (targets.some((target) => document.querySelector(target))) {
      htmx.swap({ text: html, sourceElement: document.body, target: document.body, swap: "none" });
    }
    if (list()?.hasAttribute("data-filtered")) app().refreshList();
    if (targets.includes("#" + object()?.dataset.row)) app().refreshObject();
  }

  function showAlert(html) {
    htmx.swap({ text: html, sourceElement: document.body, target: document.body, swap: "none" });
    app().initContent();
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
    app().updateTimes();
  }

  // ---- the connection: an element of htmx's SSE extension ----
  function streamURL() {
    const url = new URL(container().dataset.events, location.href);
    if (lastEventID) url.searchParams.set("after", lastEventID);
    return url.pathname + url.search;
  }

  function connect() {
    disconnect();
    if (!path()) return;
    const live = document.createElement("div");
    live.id = "live";
    live.hidden = true;
    live.setAttribute("hx-sse:connect", streamURL());
    live.setAttribute("hx-swap", "none");
    document.body.append(live);
    htmx.process(live);
  }

  function disconnect() {
    clearTimeout(retryTimer);
    const live = document.getElementById("live");
    if (!live) return;
    htmx.trigger(live, "htmx:abort"); // a request without an answer
    live.removeAttribute("hx-sse:connect");
    htmx.process(live, true); // htmx cleans up, and the extension ends its stream
    live.remove();
  }

  document.addEventListener("htmx:sse:before:message", (event) => {
    if (event.target.id !== "live") return;
    event.preventDefault(); // this file handles it, not htmx
    event.detail.cancelled = true;
    retryDelay = minRetryDelay;
    const { event: name = "", data, id } = event.detail.message;
    channel?.postMessage({ event: name, data, id });
    handleEvent({ event: name, data, id });
  });
  document.addEventListener("htmx:sse:after:connection", (event) => { startedElement = event.target; });
  // The extension reconnects a stream that broke. One that never began is opened again here.
  document.addEventListener("htmx:finally:request", (event) => {
    const live = event.target;
    if (live.id !== "live" || !live.isConnected || live === startedElement) return;
    app().markStale();
    retryTimer = setTimeout(() => { if (document.getElementById("live") === live) connect(); }, retryDelay * (0.7 + 0.6 * Math.random()));
    retryDelay = Math.min(retryDelay * 2, maxRetryDelay);
  });
  document.addEventListener("htmx:sse:error", () => app().markStale());

  // ---- what a window missed before it heard the first broadcast ----
  const lastSeen = () => Number(lastEventID || new URL(container()?.dataset.events || "", location.href).searchParams.get("after") || 0);

  function onBroadcast({ data }) {
    if (data.hello) {
      if (release) channel.postMessage({ at: lastSeen() });
    } else if (data.at !== undefined) {
      if (!release && data.at > lastSeen()) {
        app().refreshList();
        app().refreshObject();
      }
    } else {
      handleEvent(data);
    }
  }

  // ---- the lock ----
  function requestLock() {
    if (!path() || release || lockRequest) return;
    if (!navigator.locks || !window.BroadcastChannel) { connect(); return; }
    const name = "live:" + document.documentElement.lang + ":" + path(); // rows are in a language
    if (!channel) {
      channel = Object.assign(new BroadcastChannel(name), { onmessage: onBroadcast });
      channel.postMessage({ hello: true });
    }
    lockRequest = new AbortController();
    navigator.locks.request(name, { signal: lockRequest.signal }, () => {
      lockRequest = null;
      connect();
      return new Promise((resolve) => { release = resolve; });
    }).catch(() => { lockRequest = null; });
  }

  function releaseLock() {
    lockRequest?.abort();
    disconnect();
    release?.();
    release = null;
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { releaseLock(); return; }
    app().refreshList();
    if (object()) app().refreshObject();
    requestLock();
  });
  addEventListener("pagehide", releaseLock);
  addEventListener("pageshow", (event) => { if (event.persisted && !document.hidden) requestLock(); });
  document.addEventListener("DOMContentLoaded", () => { if (!document.hidden) requestLock(); });
})();
