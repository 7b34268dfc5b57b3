// Package crashtest kills the real program at random moments and checks that nothing
// acknowledged was lost, done twice or half done. It also attaches volumes of the real
// program to real NBD clients.
package crashtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// builtProgram is the real program, built once as the README builds it, for the tests to
// kill.
var builtProgram string

func TestMain(m *testing.M) {
	code, err := withBinary(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot build the program:", err)
		code = 1
	}
	os.Exit(code)
}

func withBinary(run func() int) (int, error) {
	folder, err := os.MkdirTemp("", "blockconsole-crash-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	builtProgram = filepath.Join(folder, "blockconsole")
	build := exec.Command("go", "build", "-o", builtProgram, ".")
	build.Dir = filepath.Join("..", "..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=") // without the race detector of the tests, which needs cgo
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return 0, err
	}
	return run(), nil
}

const programPassword = "correct horse battery"

// program is the console as a process of its own. It keeps its folder when it is
// killed and started again.
type program struct {
	t        *testing.T
	folder   string
	settings []string // beside those that every test needs
	url      string
	nbd      string // host:port, where it is on
	cookie   string // of the administrator's session
	command  *exec.Cmd
	log      lockedBuffer
}

// lockedBuffer is what the process says, while it says it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(l.b.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

func newProgram(t *testing.T) *program {
	t.Helper()
	p := &program{t: t, folder: filepath.Join(t.TempDir(), "data")}
	t.Cleanup(func() {
		if p.command != nil {
			p.kill()
		}
		if t.Failed() {
			t.Logf("the console's log ends with\n%s", p.log.tail())
		}
	})
	return p
}

// start runs the console and waits until it says where it is.
func (p *program) start() {
	p.t.Helper()
	p.await(p.launch())
}

// launch runs the console and returns what it writes.
func (p *program) launch() io.Reader {
	p.t.Helper()
	p.command = exec.Command(builtProgram)
	p.command.Env = []string{"BLOCKCONSOLE_ADDR=127.0.0.1:0", "BLOCKCONSOLE_NBD_ADDR=", "BLOCKCONSOLE_DATA=" + p.folder,
		"BLOCKCONSOLE_ADMIN_PASSWORD=" + programPassword, "TMPDIR=" + os.TempDir()}
	p.command.Env = append(p.command.Env, p.settings...) // the last of equal names counts
	p.command.Stderr = &p.log
	stdout, err := p.command.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	return stdout
}

func (p *program) await(stdout io.Reader) {
	p.t.Helper()
	said := make(chan string, 8)
	go func() {
		defer close(said)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	p.url = p.awaitLine(said, "blockconsole is at ")
	if p.nbd = ""; slices.ContainsFunc(p.settings, func(s string) bool { return strings.HasPrefix(s, "BLOCKCONSOLE_NBD_ADDR=") }) {
		p.nbd = p.awaitLine(said, "Servers reach attached volumes at ")
	}
}

func (p *program) awaitLine(said <-chan string, beginning string) string {
	p.t.Helper()
	select {
	case line := <-said:
		_, address, found := strings.Cut(line, beginning)
		if !found {
			p.t.Fatalf("the console said %q\n%s", line, p.log.tail())
		}
		return address
	case <-time.After(patience):
		p.t.Fatalf("the console does not start\n%s", p.log.tail())
	}
	return ""
}

// kill ends the process as a power cut would, without a word to it.
func (p *program) kill() {
	_ = p.command.Process.Kill() // it may have ended by itself, which Wait tells
	_ = p.command.Wait()
	p.command = nil
}

// stop ends the process as a system does that shuts down.
func (p *program) stop() {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.command.Wait(); err != nil {
		p.t.Errorf("the console ended with %v", err)
	}
	p.command = nil
}

// patience is how long a test waits for another process.
const patience = 60 * time.Second

// eventually asks again and again until done says yes. The process is not ours to
// ask for a signal.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	pause := time.NewTicker(10 * time.Millisecond)
	defer pause.Stop()
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, patience)
		}
		<-pause.C
	}
}

// signIn opens the administrator's session, which outlives the process.
func (p *program) signIn() {
	p.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url+"/login",
		strings.NewReader(url.Values{"username": {"admin"}, "password": {programPassword}}.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		if c.Name == "blockconsole" {
			p.cookie = c.Name + "=" + c.Value
		}
	}
	if resp.StatusCode != http.StatusSeeOther || p.cookie == "" {
		p.t.Fatalf("sign-in: %s", resp.Status)
	}
}

// reply is what the console answered to a program.
type reply struct {
	status    int
	operation string
	id        string
	body      []byte
}

// send sends a request and reads the whole answer. An error means that it is not
// known whether it was carried out.
func (p *program) send(client *http.Client, method, path string, form url.Values) (reply, error) {
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		return reply{}, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Accept-Language", "en")
	r.Header.Set("Cookie", p.cookie)
	resp, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	a := reply{status: resp.StatusCode}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return reply{}, err
	}
	if a.status == http.StatusAccepted {
		var accepted struct{ Operation, ID string }
		if err := json.Unmarshal(a.body, &accepted); err != nil {
			return reply{}, err
		}
		a.operation, a.id = accepted.Operation, accepted.ID
	}
	return a, nil
}

// get reads JSON from a console that has to answer.
func (p *program) get(path string, into any) {
	p.t.Helper()
	a, err := p.send(http.DefaultClient, http.MethodGet, path, nil)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	if err == nil {
		err = json.Unmarshal(a.body, into)
	}
	if err != nil {
		p.t.Fatalf("GET %s: %v", path, err)
	}
}

// page is one page of any list.
type page[T any] struct {
	Items []T
	Next  string
	Total int
}

// all reads a list from its first page to its last.
func all[T any](p *program, path string) []T {
	p.t.Helper()
	var items []T
	for path != "" {
		var one page[T]
		p.get(path, &one)
		items, path = append(items, one.Items...), one.Next
	}
	return items
}
