package views_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"blockconsole/views/i18n"
	"blockconsole/views/viewtest"
)

// connectionWords is what the page says about its connection.
const connectionWords = `document.querySelector("#connection").innerText`

const (
	wordsLost   = "연결 끊김 · 다시 연결하는 중"
	wordsUnread = "최신 상태가 아님 · 다시 읽는 중"
	wordsMany   = "열린 화면이 너무 많아 실시간으로 갱신하지 못함 · 10초마다 다시 읽는 중"
)

// beatUntil sends heartbeats until a condition is true in the page, up to 20 s.
func (s *liveServer) beatUntil(tab *viewtest.Tab, condition string) {
	s.t.Helper()
	for range 100 {
		s.sendEvent("beat", `{"now": 1000}`)
		if viewtest.Eval[bool](tab, `new Promise(r => setTimeout(() => r(`+condition+`), 200))`) {
			return
		}
	}
	s.t.Fatalf("never %s", condition)
}

// TestBrowserStream_Silence: a page whose stream goes silent says so in words within
// 5 s of the last heartbeat, and until its list has been read again.
func TestBrowserStream_Silence(t *testing.T) {
	server, tab := openLiveList(t)
	viewtest.Eval[bool](tab, `(document.addEventListener("htmx:sse:before:message", () => { window.heard = performance.now() }), window.said = [], new MutationObserver(() => said.push([`+connectionWords+`, performance.now()]))
		.observe(document.querySelector("#connection"), {childList: true, characterData: true, subtree: true}), true)`)
	server.sendEvent("beat", `{"now": 1000}`)
	waitFor(t, tab, "words", connectionWords+` === "`+wordsLost+`"`)
	if after := viewtest.Eval[float64](tab, "said[0][1] - heard"); after < 4000 || after > 5500 {
		t.Errorf("the page says that it lost its connection %.0f ms after the last heartbeat", after)
	}
	if !viewtest.Eval[bool](tab, `document.querySelector("#connection").checkVisibility() && document.querySelector("#connection").computedRole === "status"`) {
		t.Error("the words are not seen, or not read out")
	}
	for _, v := range tab.Axe() {
		t.Errorf("axe: %s", v)
	}
	tab.Screenshot("connection-lost", false)

	server.foreign.Store(true)
	server.mu.Lock()
	server.rows = server.rows[:3]
	server.mu.Unlock()
	server.beatUntil(tab, connectionWords+` === "`+wordsUnread+`"`)
	server.sendEvent("fresh", "3000")
	server.beatUntil(tab, `document.getElementById("fresh").dataset.at === "3000"`)
	if words := viewtest.Eval[string](tab, connectionWords); words != wordsUnread {
		t.Errorf("a list that was not read again says %q", words)
	}
	if n := viewtest.Eval[int](tab, `document.querySelectorAll("#rows tbody tr").length`); n != 6 {
		t.Errorf("another's page as the list left %d rows", n)
	}
	server.foreign.Store(false)
	server.beatUntil(tab, `document.querySelectorAll("#rows tbody tr").length === 3 && `+connectionWords+` === ""`)
	checkConsole(t, tab)
}

// TestBrowserStream_Ends: a stream that the server ends, as at the end of a session, is
// opened again, and nothing complains.
func TestBrowserStream_Ends(t *testing.T) {
	server, tab := openLiveList(t)
	for range 2 {
		server.end <- struct{}{}
		server.wait("stream to end", server.closed)
		server.wait("stream", server.opened)
	}
	server.sendEvent("fresh", "3000")
	waitFor(t, tab, "event", `document.getElementById("fresh").dataset.at === "3000"`)
	checkConsole(t, tab)
}

// TestBrowserStream_Refused: a page whose stream the console refuses, since too many are
// open, says so until a stream is there.
func TestBrowserStream_Refused(t *testing.T) {
	server, tab := openLiveList(t)
	server.crowded.Store(true)
	server.CloseClientConnections()
	server.wait("stream to end", server.closed)
	waitFor(t, tab, "words", connectionWords+` === "`+wordsMany+`"`)
	server.crowded.Store(false)
	server.wait("stream", server.opened)
	server.sendEvent("beat", `{"now": 1000}`)
	waitFor(t, tab, "no words", connectionWords+` === ""`)
}

// TestBrowserAges: the script tells ages by the server's time, with the same words as
// the server.
func TestBrowserAges(t *testing.T) {
	server, tab := openLiveList(t)
	for _, clock := range []string{"Date.now() + 600000", "Date.now() - 86400000"} {
		viewtest.Eval[bool](tab, `(now => { Date.now = () => now(); return true })((real => () => (Date => `+clock+`)({now: real}))(Date.now.bind(Date)))`)
		server.sendEvent("beat", `{"now": 1700000000500000}`) // half a second, so that a moment more changes nothing
		server.sendEvent("fresh", "1700000000000000")
		waitFor(t, tab, "age", `/^[012]초 전$/.test(document.getElementById("fresh").innerText)`)
	}
	now := time.UnixMicro(1700000000500000)
	ctx := i18n.WithLang(context.Background(), "ko")
	for _, age := range []time.Duration{-time.Hour, 90 * time.Second, 59 * time.Minute, time.Hour, 23 * time.Hour, 24 * time.Hour, 47 * time.Hour, 2000 * 24 * time.Hour} {
		at := now.Add(-age)
		server.sendEvent("fresh", fmt.Sprint(at.UnixMicro()))
		server.sendEvent("beat", `{"now": 1700000000500000}`)
		waitFor(t, tab, "age of "+age.String(), `document.getElementById("fresh").innerText === "`+i18n.Ago(ctx, at, now)+`"`)
	}
	checkConsole(t, tab)
}
