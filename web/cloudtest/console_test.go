package cloudtest

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
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/views"
)

const consolePassword = "correct horse battery"

// console is the program as a process of its own, on the cloud of c. It keeps its
// data folder when it is killed and started again.
type console struct {
	t        *testing.T
	c        *cloud
	folder   string
	settings []string
	unsteady bool         // it may be killed while it is asked: what gets no answer is sent again
	at       atomic.Value // its address
	cookie   string       // of the administrator's session
	command  *exec.Cmd
	log      lockedBuffer
	client   http.Client
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

// tail is the end of it, without the requests of the tests, who ask very often.
func (l *lockedBuffer) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(l.b.String()), "\n"),
		func(line string) bool { return strings.Contains(line, `"msg":"request"`) })
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// newConsole starts the console and signs in. It ends before the cloud is swept.
func newConsole(t *testing.T, c *cloud, settings ...string) *console {
	t.Helper()
	p := &console{t: t, c: c, folder: filepath.Join(t.TempDir(), "data"), settings: settings}
	t.Cleanup(func() {
		if p.command != nil {
			p.kill()
		}
		if t.Failed() {
			t.Logf("the console's log ends with\n%s", p.log.tail())
		}
	})
	p.start()
	p.signIn()
	return p
}

// start runs the console and waits until it says where it is.
func (p *console) start() {
	p.t.Helper()
	p.command = exec.Command(builtProgram)
	p.command.Env = []string{"BLOCKCONSOLE_ADDR=127.0.0.1:0", "BLOCKCONSOLE_DATA=" + p.folder, "BLOCKCONSOLE_BACKEND=openstack",
		"BLOCKCONSOLE_ADMIN_PASSWORD=" + consolePassword, "TMPDIR=" + os.TempDir(), "HOME=" + os.Getenv("HOME")}
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "OS_") {
			p.command.Env = append(p.command.Env, variable)
		}
	}
	if p.c.name != "" {
		p.command.Env = append(p.command.Env, "OS_CLOUD="+p.c.name)
	}
	p.command.Env = append(p.command.Env, p.settings...) // the last of equal names counts
	p.command.Stderr = &p.log
	stdout, err := p.command.StdoutPipe()
	if err == nil {
		err = p.command.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	_, address, found := strings.Cut(strings.TrimSpace(line), "blockconsole is at ")
	if err != nil || !found {
		p.t.Fatalf("the console said %q, %v\n%s", line, err, p.log.tail())
	}
	p.at.Store(address)
	go func() { _, _ = io.Copy(io.Discard, stdout) }() // until the process ends
}

func (p *console) url(path string) string { return p.at.Load().(string) + path }

// kill ends the process as a power cut would, without a word to it.
func (p *console) kill() {
	_ = p.command.Process.Kill() // it may have ended by itself, which Wait tells
	_ = p.command.Wait()
	p.command = nil
}

// stop ends the process as a system does that shuts down.
func (p *console) stop() {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.command.Wait(); err != nil {
		p.t.Errorf("the console ended with %v", err)
	}
	p.command = nil
}

// signIn opens the administrator's session, which outlives the process.
func (p *console) signIn() {
	p.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url("/login"),
		strings.NewReader(url.Values{"username": {"admin"}, "password": {consolePassword}}.Encode()))
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
	for _, cookie := range resp.Cookies() {
		if cookie.Name == "blockconsole" {
			p.cookie = cookie.Name + "=" + cookie.Value
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
	refusal   struct {
		Code, Message string
		Fields        map[string]string
		RequestID     string `json:"request_id"`
	}
	body []byte
}

// send sends a request and reads the whole answer. An error means that nobody knows
// whether it was carried out. To an unsteady console the same is sent again, as an
// impatient user does.
func (p *console) send(method, path string, form url.Values) (reply, error) {
	deadline := time.Now().Add(patience)
	for {
		a, err := p.sendOnce(method, path, form)
		if err == nil || !p.unsteady || time.Now().After(deadline) {
			return a, err
		}
		<-time.After(50 * time.Millisecond) // it is being started
	}
}

func (p *console) sendOnce(method, path string, form url.Values) (reply, error) {
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url(path), strings.NewReader(form.Encode()))
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
	resp, err := p.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	a := reply{status: resp.StatusCode}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return reply{}, err
	}
	if method == http.MethodPost {
		var answer struct {
			Operation, ID string
			Error         *json.RawMessage
		}
		if err := json.Unmarshal(a.body, &answer); err != nil {
			return reply{}, fmt.Errorf("%d %s: %w", a.status, a.body, err)
		}
		a.operation, a.id = answer.Operation, answer.ID
		if answer.Error != nil {
			err = json.Unmarshal(*answer.Error, &a.refusal)
		}
	}
	return a, err
}

// get reads JSON and returns the status.
func (p *console) get(path string, into any) int {
	p.t.Helper()
	a, err := p.send(http.MethodGet, path, nil)
	if err == nil && a.status == http.StatusOK {
		err = json.Unmarshal(a.body, into)
	}
	if err != nil {
		p.t.Fatalf("GET %s: %v", path, err)
	}
	return a.status
}

// post sends a form of pairs of names and values.
func (p *console) post(path string, pairs ...string) reply {
	p.t.Helper()
	a, err := p.send(http.MethodPost, path, form(pairs...))
	if err != nil {
		p.t.Fatalf("POST %s: %v", path, err)
	}
	return a
}

func form(pairs ...string) url.Values {
	sent := url.Values{"form_key": {models.NewID()}}
	for i := 0; i+1 < len(pairs); i += 2 {
		sent.Set(pairs[i], pairs[i+1])
	}
	return sent
}

// asked posts what has to be accepted.
func (p *console) asked(path string, pairs ...string) reply {
	p.t.Helper()
	a := p.post(path, pairs...)
	if a.status != http.StatusAccepted || a.operation == "" || a.id == "" {
		p.t.Fatalf("POST %s %v: %d %s", path, pairs, a.status, a.body)
	}
	return a
}

// operation is one of 작업, as the console tells it.
type operation struct {
	ID, Kind, State, Error string
	Steps                  int
	SubjectID              string `json:"subject_id"`
	RequestID              string `json:"request_id"`
	Dependents             []struct{ Type, ID, Name string }
}

// ended waits until an operation is over.
func (p *console) ended(id string) operation {
	p.t.Helper()
	var o operation
	eventually(p.t, "the end of the operation "+id, func() bool {
		p.get("/activity/"+id, &o)
		return slices.Contains([]string{"SUCCEEDED", "FAILED", "CANCELLED"}, o.State)
	})
	return o
}

// done posts what has to be accepted and to succeed, and returns the object's id.
func (p *console) done(path string, pairs ...string) string {
	p.t.Helper()
	a := p.asked(path, pairs...)
	if o := p.ended(a.operation); o.State != "SUCCEEDED" {
		p.t.Fatalf("POST %s %v: %+v", path, pairs, o)
	}
	return a.id
}

// row is a volume or snapshot as the console tells it.
type row struct {
	ID, Name, Status, Consistency string
	BackendID                     string `json:"backend_id"`
	SizeGiB                       int    `json:"size_gib"`
	Volume                        struct{ ID string }
	Attachments                   []struct {
		ServerID   string `json:"server_id"`
		ServerName string `json:"server_name"`
	}
}

func volumePath(id string, rest ...string) string {
	return strings.Join(append([]string{views.VolumesPath, id}, rest...), "/")
}

func snapshotPath(id string, rest ...string) string {
	return strings.Join(append([]string{views.SnapshotsPath, id}, rest...), "/")
}

// is checks the status of an object, and returns its row.
func (p *console) is(path, status string) row {
	p.t.Helper()
	var r row
	if got := p.get(path, &r); got != http.StatusOK || r.Status != status {
		p.t.Fatalf("%s: %d %+v, want %s", path, got, r, status)
	}
	return r
}

// becomes waits until an object has a status.
func (p *console) becomes(path, status string) row {
	p.t.Helper()
	var r row
	eventually(p.t, path+" to be "+status, func() bool { return p.get(path, &r) == http.StatusOK && r.Status == status })
	return r
}

// isGone checks that an object is not there any more.
func (p *console) isGone(path string) {
	p.t.Helper()
	var r row
	if status := p.get(path, &r); status != http.StatusNotFound {
		p.t.Errorf("%s: %d %+v, want 404", path, status, r)
	}
}

// listed are the objects of a list whose names are those of this test.
func (p *console) listed(path string) []row {
	p.t.Helper()
	var found []row
	for next := path + "?size=200&q=" + p.c.prefix; next != ""; {
		var page struct {
			Items []row
			Next  string
		}
		if status := p.get(next, &page); status != http.StatusOK {
			p.t.Fatalf("GET %s: %d", next, status)
		}
		found, next = append(found, page.Items...), page.Next
	}
	return found
}

// knows waits until the console has read a server, and with it the rest.
func (p *console) knows(s server) {
	p.t.Helper()
	eventually(p.t, "the server "+s.Name+" in the console", func() bool {
		var all struct{ Items []server }
		p.get(views.ServersPath, &all)
		return slices.ContainsFunc(all.Items, func(k server) bool { return k.ID == s.ID && k.Name == s.Name })
	})
}
