// Keeps the page like the console: what is read again, and the event stream of a list and of the pages of its objects.
// The windows of a browser share one stream where path, language and person are equal: the window that holds the lock
// has the stream and broadcasts its events to the others. Hidden windows neither hold nor wait, and read nothing.
(() => {
  "use strict";
  const settleDelay = 150; // ms, so that several events are answered by one request
  const minRetryDelay = 1000; // ms
  const maxRetryDelay = 10000;
  const silenceLimit = 5000; // ms without a heartbeat, of which there is one every 2 s
  const stallLimit = 10000; // ms without a word on a stream, after which another is opened
  const pollInterval = 3000; // ms, for a page that its object's events alone do not keep current

  const page = document.documentElement;
  const list = () => document.getElementById("list");
  const object = () => document.querySelector("#object[data-events]");
  const container = () => list() || object();
  const path = () => (container()?.dataset.events || "").split("?")[0];
  const app = () => window.blockconsole;
  const jittered = (delay) => delay * (0.7 + 0.6 * Math.random());

  // ---- parts of the page that are read again, until the console itself has answered ----
  class Part {
    late = false; // what is shown is known not to be the newest
    #due = false;
    #reading = false;
    #answered = false;
    #timer = 0;
    #retryDelay = minRetryDelay;

    constructor(id, request, mustWait = () => false) {
      Object.assign(this, { id, request, mustWait });
    }

    get element() { return document.getElementById(this.id); }

    // refresh reads the part soon. After a failure it is read when that is tried again.
    refresh() {
      this.#due = true;
      if (!this.late) this.#schedule(settleDelay);
    }

    // reread reads the part at once; until then it says that it is late.
    reread() {
      if (!this.element) return;
      this.#due = this.late = true;
      this.#retryDelay = minRetryDelay;
      this.#schedule(0);
    }

    settle() { this.#answered = true; }

    #schedule(delay) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#read(), delay);
    }

    async #read() {
      if (!this.element || !this.#due || this.#reading || document.hidden) return;
      if (this.mustWait()) { this.#schedule(minRetryDelay); return; }
      this.#due = this.#answered = false;
      this.#reading = true;
      const slow = setTimeout(() => { this.late = true; showState(); }, silenceLimit);
      try { await this.request(this.element); } catch { /* it has no answer */ }
      clearTimeout(slow);
      this.#reading = false;
      this.late = !this.#answered;
      if (this.late) {
        this.#due = true;
        this.#schedule(jittered(this.#retryDelay));
        this.#retryDelay = Math.min(this.#retryDelay * 2, maxRetryDelay);
      } else {
        this.#retryDelay = minRetryDelay;
        if (this.#due) this.#schedule(settleDelay);
      }
      showState();
    }
  }

  const ownPage = (element) => htmx.ajax("GET", location.pathname + location.search,
    { source: element, target: element, select: "#" + element.id, swap: "outerMorph" });
  const busy = () => document.getElementById("popup")?.open || document.querySelector("#row-menu:popover-open");
  const parts = {
    list: new Part("list", ownPage),
    object: new Part("object", ownPage, busy),
    found: new Part("found", (element) => htmx.ajax("GET", element.dataset.url, { source: element, target: element, swap: "innerHTML" })),
  };
  const shownParts = () => Object.values(parts).filter((part) => part.element);
  const refreshPage = () => { for (const part of shownParts()) part.refresh(); };

  // A proxy's answer, or an error, is none: the console's own have an id.
  document.addEventListener("htmx:before:swap", (event) => {
    const { response, sourceElement } = event.detail.ctx;
    if (response && sourceElement?.id === "live") event.preventDefault(); // it is no stream
    const part = response && parts[sourceElement?.id];
    if (!part) return;
    const own = response.headers.has("X-Request-Id");
    setSignedOut(own && response.status === 401);
    if (own && response.status === 404 && part === parts.object) location.reload(); // it is gone: the page says so
    if (!own || response.status >= 400) event.preventDefault();
  });
  document.addEventListener("htmx:after:swap", (event) => {
    const { ctx } = event.detail;
    if (ctx.response) parts[ctx.sourceElement?.id]?.settle();
    if (ctx.response && isOutdated(ctx)) refreshList();
  });

  // ---- an answer that is older than a live event may undo it: the list is read again ----
  let eventCount = 0;
  const eventsAtStart = new WeakMap();
  document.addEventListener("htmx:before:request", (event) => { eventsAtStart.set(event.detail.ctx, eventCount); });

  function isOutdated(ctx) {
    const writing = ctx.request?.method?.toUpperCase() === "POST";
    return (writing || ctx.sourceElement?.id === "list") && eventsAtStart.has(ctx) && eventsAtStart.get(ctx) !== eventCount;
  }

  function refreshList() {
    parts.list.refresh();
    if (parts.found.element) parts.found.refresh();
  }
  document.addEventListener("list:refresh", refreshPage);

  // ---- in words: whether what is shown is what there is ----
  let silent = false;
  let signedOut = false;
  let refused = false; // the console has too many streams
  let silenceTimer = 0;

  function showState() {
    const late = shownParts().some((part) => part.late);
    const state = signedOut ? "signedOut" : refused ? "refused" : silent ? "lost" : late ? "unread" : "";
    const words = document.getElementById("connection");
    page.classList.toggle("not-live", state !== "");
    if (words && words.textContent !== (words.dataset[state] || "")) words.textContent = words.dataset[state] || "";
  }

  // The first of the page's requests that nobody is signed in for tells; session:renewed is the answer.
  function setSignedOut(now) {
    if (now && !signedOut) document.dispatchEvent(new CustomEvent("session:expired"));
    signedOut = now;
    showState();
  }

  function awaitBeat() {
    clearTimeout(silenceTimer);
    silenceTimer = setTimeout(onSilence, silenceLimit);
  }

  // Without a stream the page is read again from time to time.
  function onSilence() {
    silent = true;
    if (!signedOut) refreshPage();
    showState();
    silenceTimer = setTimeout(onSilence, jittered(maxRetryDelay));
  }

  function onSound() {
    awaitBeat();
    signedOut = refused = false;
    if (silent) {
      silent = false;
      for (const part of shownParts()) part.reread();
    }
    showState();
  }

  // ---- an event, of this window's stream or broadcast ----
  let lastEventID = "";
  let begun = false;

  function handleEvent({ event, data, id }) {
    if (id) lastEventID = id;
    onSound();
    switch (event) {
      case "begin":
        if (begun) refreshPage(); // not all that was missed is sent again
        begun = true;
        showTime(data);
        break;
      case "beat":
        showTime(data);
        break;
      case "list":
        refreshPage(); // rows came or went, or too many changed to be sent one by one
        break;
      case "object":
        if (data.split(" ").some((id) => object()?.dataset.row.endsWith(id))) parts.object.refresh();
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

  function showTime(data) {
    const { now, running } = JSON.parse(data);
    app().setServerTime(now);
    if (running !== undefined) showCount(String(running));
  }

  function swapRows(html) {
    eventCount += 1;
    const targets = [...html.matchAll(/hx-target="(#[A-Za-z0-9_-]+)"/g)].map((match) => match[1]);
    if (targets.some((target) => document.querySelector(target))) {
      htmx.swap({ text: html, sourceElement: document.body, target: document.body, swap: "none" });
    }
    if (list()?.hasAttribute("data-filtered")) refreshList();
    if (targets.includes("#" + object()?.dataset.row)) parts.object.refresh();
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
    app().updateTimes();
  }

  // ---- the connection: an element of htmx's SSE extension, which reads one stream to its end ----
  let retryDelay = minRetryDelay;
  let retryTimer = 0;
  let stallTimer = 0;
  let startedElement = null; // the element whose stream has begun

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
    live.setAttribute("hx-config", '{"sse":{"reconnect":false,"pauseOnBackground":false}}');
    live.setAttribute("hx-swap", "none");
    document.body.append(live);
    stallTimer = setTimeout(reconnect, stallLimit);
    htmx.process(live);
  }

  function disconnect() {
    clearTimeout(retryTimer);
    clearTimeout(stallTimer);
    const live = document.getElementById("live");
    if (!live) return;
    htmx.trigger(live, "htmx:abort"); // a request without an answer
    live.removeAttribute("hx-sse:connect");
    htmx.process(live, true); // htmx cleans up, and the extension ends its stream
    live.remove();
  }

  // reconnect opens another stream after a stream ended, stalled or did not begin.
  function reconnect() {
    disconnect();
    retryTimer = setTimeout(connect, jittered(retryDelay));
    retryDelay = Math.min(retryDelay * 2, maxRetryDelay);
  }

  document.addEventListener("htmx:sse:before:message", (event) => {
    if (event.target.id !== "live") return;
    event.preventDefault(); // this file handles it, not htmx
    event.detail.cancelled = true;
    retryDelay = minRetryDelay;
    clearTimeout(stallTimer);
    stallTimer = setTimeout(reconnect, stallLimit);
    const { event: name = "", data, id } = event.detail.message;
    channel?.postMessage({ event: name, data, id });
    handleEvent({ event: name, data, id });
  });
  document.addEventListener("htmx:sse:after:connection", (event) => { startedElement = event.target; });
  document.addEventListener("htmx:sse:close", (event) => {
    const live = event.target;
    if (live.id !== "live" || event.detail.reason !== "ended") return;
    setTimeout(() => { if (live.isConnected) reconnect(); }); // the extension still needs its element
  });
  document.addEventListener("htmx:finally:request", (event) => {
    const live = event.target;
    if (live.id !== "live" || !live.isConnected || live === startedElement) return;
    const { status, headers } = event.detail.ctx.response ?? {};
    refused = (status === 429 || status === 503) && headers.has("X-Request-Id");
    setSignedOut(status === 401);
    reconnect();
  });

  // ---- what a window missed before it heard the first broadcast ----
  const lastSeen = () => Number(lastEventID || new URL(container()?.dataset.events || "", location.href).searchParams.get("after") || 0);

  function onBroadcast({ data }) {
    if (document.hidden && data.event !== "activity") return;
    if (data.hello) {
      if (release) channel.postMessage({ at: lastSeen() });
    } else if (data.at !== undefined) {
      if (!release && data.at > lastSeen()) refreshPage();
    } else {
      handleEvent(data);
    }
  }

  // ---- the lock ----
  const shares = Boolean(navigator.locks && window.BroadcastChannel); // not where the page came by HTTP from afar
  let channel = null;
  let release = null; // releases the lock that this window holds
  let lockRequest = null; // AbortController of the pending request

  function requestLock() {
    if (!path() || release || lockRequest) return;
    awaitBeat();
    if (!shares) { connect(); return; }
    const name = ["live", page.lang, page.dataset.user, path()].join(":"); // rows are in a language, messages for a person
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
    clearTimeout(silenceTimer);
    silent = false;
    lockRequest?.abort();
    disconnect();
    release?.();
    release = null;
  }

  // What is late is not waited for when there is reason to hope.
  function resume() {
    if (document.hidden) return;
    refreshPage();
    for (const part of shownParts().filter((part) => part.late)) part.reread();
    showState();
    if (release) connect();
    else requestLock();
  }

  document.addEventListener("visibilitychange", () => { document.hidden ? releaseLock() : resume(); });
  addEventListener("online", resume);
  document.addEventListener("session:renewed", resume);
  addEventListener("pagehide", releaseLock);
  addEventListener("pageshow", (event) => { if (event.persisted) resume(); });
  document.addEventListener("DOMContentLoaded", () => {
    if (parts.found.element) parts.found.refresh();
    if (!document.hidden) requestLock();
    setInterval(() => { if (document.querySelector("#object[data-poll]")) parts.object.refresh(); }, pollInterval);
  });
})();
