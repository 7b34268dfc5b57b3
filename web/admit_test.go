package web_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
)

const events = "/storage/block-storage/volumes/events"

// openStream opens a live page; end closes it.
func openStream(t *testing.T, b *apptest.Client) (resp *http.Response, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := b.NewRequest(ctx, http.MethodGet, events, nil, "Accept", "text/event-stream", "Accept-Language", "en")
	if err != nil {
		t.Fatal(err)
	}
	if resp, err = b.Do(r); err != nil {
		t.Fatal(err)
	}
	end = func() { cancel(); resp.Body.Close() }
	t.Cleanup(end)
	return resp, end
}

func TestStreams_Capped(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "STREAMS_PER_SESSION=2", "STREAMS_PER_USER=3", "STREAMS_PER_ADDRESS=4")
	one, two, other, last := c.As(models.Viewer), c.As(models.Viewer), c.As(models.Operator), c.As(models.Administrator)
	wantRefused := func(b *apptest.Client, words string) {
		t.Helper()
		resp, end := openStream(t, b)
		defer end()
		if resp.StatusCode == http.StatusOK {
			t.Errorf("it is open, want %q", words)
			return
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(body), words) {
			t.Errorf("status %d, want the sentence %q: %s", resp.StatusCode, words, body)
		}
	}
	wantOpen := func(b *apptest.Client) (end func()) {
		t.Helper()
		resp, end := openStream(t, b)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("status %d", resp.StatusCode)
		}
		return end
	}
	wantOpen(one)
	end := wantOpen(one)
	wantRefused(one, "This session has 2 live pages")
	wantOpen(two)
	wantRefused(two, "This user has 3 live pages")
	wantOpen(other)
	wantRefused(last, "This network address has 4 live pages")
	apptest.WantStatus(t, one.Get("/account"), http.StatusOK) // pages are not streams
	end()
	apptest.Eventually(t, apptest.Patience, "the place of a stream that ended", func() bool {
		resp, end := openStream(t, last)
		defer end()
		return resp.StatusCode == http.StatusOK
	})
}

// serveFew is the whole console with twelve connections, as the program serves it.
func serveFew(t *testing.T, settings ...string) *apptest.Console {
	t.Helper()
	c := apptest.Open(t, apptest.Options{WallClock: true, Settings: append([]string{"CONNECTIONS=12"}, settings...)})
	c.Serve()
	return c
}

func dialConsole(t *testing.T, c *apptest.Console, say string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, say); err != nil {
		t.Fatal(err)
	}
	return conn
}

// Whatever the connections wait for that somebody opens by the hundred, others come in.
func TestConnections_WaitingGiveWay(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]string{
		"silent":          "",
		"half a head":     "GET /login HTTP/1.1\r\nHost: con",
		"idle":            "GET /healthz HTTP/1.1\r\nHost: console\r\n\r\n",
		"a body to come":  "POST /login HTTP/1.1\r\nHost: console\r\nContent-Length: 100\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\nusername=",
		"an endless body": "POST /nothing HTTP/1.1\r\nHost: console\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serveFew(t)
			for range 100 {
				dialConsole(t, c, say)
			}
			start := time.Now()
			b := c.NewClient()
			apptest.WantStatus(t, b.Get("/healthz"), http.StatusOK)
			b.SignIn("operator", storetest.Password)
			apptest.WantStatus(t, b.Get("/account"), http.StatusOK)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A body that does not arrive is answered with a sentence, in its own time or when its
// connection has to give way.
func TestConnections_SlowBodyIsTold(t *testing.T) {
	t.Parallel()
	const request = "POST /login HTTP/1.1\r\nHost: console\r\nAccept: application/json\r\nAccept-Language: en\r\nContent-Length: 9\r\n" +
		"Expect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n"
	// begin sends the head and a part of the body, when the console waits for it.
	begin := func(t *testing.T, c *apptest.Console) *bufio.Reader {
		t.Helper()
		conn := dialConsole(t, c, request)
		if err := conn.SetReadDeadline(time.Now().Add(apptest.Patience)); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusContinue {
			t.Fatalf("%v %v", resp, err)
		}
		if _, err := io.WriteString(conn, "name="); err != nil {
			t.Fatal(err)
		}
		return r
	}
	wantTold := func(t *testing.T, r *bufio.Reader) {
		t.Helper()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(body), "in time") {
			t.Errorf("%d %s %v", resp.StatusCode, body, err)
		}
	}
	t.Run("time over", func(t *testing.T) {
		t.Parallel()
		c := serveFew(t, "HEADER_TIMEOUT=1s", "BODY_TIMEOUT=1s")
		answer := begin(t, c)
		wantTold(t, answer)
	})
	t.Run("gives way", func(t *testing.T) {
		t.Parallel()
		c := serveFew(t, "BODY_TIMEOUT=10m")
		answer := begin(t, c)
		for range 40 {
			dialConsole(t, c, "GET /healthz HTTP/1.1\r\nHost: console\r\n\r\n")
		}
		wantTold(t, answer)
	})
}

// Many people with live pages: more get a sentence and not a page that never comes,
// while health, signing in and the pages of all go on.
func TestStreams_LeaveRoomForPages(t *testing.T) {
	t.Parallel()
	c := serveFew(t)
	opened := 0
	for i := range 12 {
		resp, _ := openStream(t, c.As(models.Roles[i%3]))
		switch resp.StatusCode {
		case http.StatusOK:
			opened++
		case http.StatusServiceUnavailable:
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "Too many requests are under way") {
				t.Errorf("%s %v", body, err)
			}
		default:
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if opened != 6 {
		t.Errorf("%d of 12 connections are live pages, want half", opened)
	}
	b := c.NewClient()
	apptest.WantStatus(t, b.Get("/readyz"), http.StatusOK)
	b.SignIn("operator", storetest.Password)
	apptest.WantStatus(t, b.Get("/account"), http.StatusOK)
}

// One person's requests under way are capped, and signing in has places of its own.
func TestRequests_Capped(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "CONNECTIONS=32", "REQUESTS_PER_USER=2")
	b, arrived, leave := c.As(models.Operator), make(chan struct{}), make(chan struct{})
	const hold = "/test/hold"
	c.Server.Get(models.Viewer, hold, func(c echo.Context) error {
		arrived <- struct{}{}
		<-leave
		return c.NoContent(http.StatusNoContent)
	})
	statuses := make(chan int, 10)
	for range 2 {
		go func() { statuses <- b.Get(hold).StatusCode }()
		<-arrived
	}
	for lang, words := range map[string]string{"ko": "2개까지", "en": "2 requests"} {
		a := b.Get("/account", "Accept-Language", lang)
		apptest.WantStatus(t, a, http.StatusTooManyRequests)
		if !strings.Contains(a.Body, words) || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s", lang, a.Body)
		}
	}
	apptest.WantStatus(t, c.As(models.Viewer).Get("/account"), http.StatusOK)
	close(leave)
	for range 2 {
		if status := <-statuses; status != http.StatusNoContent {
			t.Errorf("a request under way: %d", status)
		}
	}
	apptest.WantStatus(t, b.Get("/account"), http.StatusOK)
}

// tlsSettings are the settings for HTTPS, and a client that speaks HTTP/2 to it.
func tlsSettings(t *testing.T) ([]string, *http.Client) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"TLS_CERT=" + filepath.Join(folder, "cert.pem"), "TLS_KEY=" + filepath.Join(folder, "key.pem")}, server.Client()
}

// Under TLS and HTTP/2 as well: who is silent gives way, and a connection with a live
// page does not.
func TestConnections_OverTLS(t *testing.T) {
	t.Parallel()
	settings, client := tlsSettings(t)
	c := serveFew(t, settings...)
	address, token := "https://"+c.Listener.Addr().String(), c.NewSession("operator")
	get := func(path, accept string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		r.AddCookie(&http.Cookie{Name: handlers.SessionCookie(true), Value: token})
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
			t.Fatalf("%s: %s %s", path, resp.Proto, resp.Status)
		}
		return resp
	}
	stream := bufio.NewReader(get(events, "text/event-stream").Body)
	if line, err := stream.ReadString('\n'); err != nil || !strings.HasPrefix(line, "event: begin") {
		t.Fatalf("%q %v", line, err)
	}
	for range 100 {
		dialConsole(t, c, "")
	}
	get("/account", "text/html")
	if _, err := c.Store.Volumes.CreateVolume(t.Context(), storetest.Operator(), models.VolumeInput{Name: "shown-live", Size: "1"}); err != nil {
		t.Fatal(err)
	}
	for { // the test's own end is the limit
		line, err := stream.ReadString('\n')
		if err != nil {
			t.Fatalf("the live page ended: %v", err)
		}
		if strings.HasPrefix(line, "event: list") {
			return
		}
	}
}
