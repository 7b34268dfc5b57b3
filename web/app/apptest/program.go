package apptest

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app"
	"blockconsole/web/config"
)

// runProgram in the environment makes a test binary the program.
const runProgram = "APPTEST_RUN_PROGRAM"

// TestMain is for the TestMain of packages that use Program: the test binary is the
// program where a Program has started it. atOnce is how many tests run at once unless
// -parallel says otherwise; 0: one for each core.
func TestMain(m *testing.M, atOnce int) {
	if os.Getenv(runProgram) != "" {
		os.Exit(app.RunProcess())
	}
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if atOnce > 0 && !chosen {
		if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// Patience is how long tests wait for what must happen, in this process or another.
const Patience = 60 * time.Second

// Program is the console as a process of its own. It keeps its data folder when it is
// stopped or killed and started again.
type Program struct {
	Path     string   // of the file that is run: this test binary
	Data     string   // the data folder
	Settings []string // NAME=value, without BLOCKCONSOLE_; the last of equal names counts
	Environ  []string // besides those, as os.Environ has it
	Client   *Client  // of the process that runs, with the session of SignIn

	t              testing.TB
	url            atomic.Pointer[string]
	command        *exec.Cmd // nil: it does not run
	exited         chan struct{}
	stdout, stderr output
}

// NewProgram prepares a program with a data folder of its own, on free ports of the
// loopback, without NBD, for users with storetest.Password. It is killed with the
// test; its log is shown when the test fails.
func NewProgram(t testing.TB, settings ...string) *Program {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &Program{t: t, Path: path, Data: filepath.Join(t.TempDir(), "new", "data"), Settings: settings}
	p.Client = newClient(t, p.URL)
	t.Cleanup(func() {
		if p.command != nil {
			p.Kill()
		}
		if strings.Contains(p.stderr.String(), "WARNING: DATA RACE") {
			t.Error("the program has a data race")
		}
		if t.Failed() {
			t.Logf("the program's log ends with\n%s", p.LogTail())
		}
	})
	return p
}

// Command prepares a run of the program with other arguments, such as a command. Its
// environment has the settings and nothing else of this process but the paths.
func (p *Program) Command(ctx context.Context, args ...string) *exec.Cmd {
	p.t.Helper()
	command := exec.CommandContext(ctx, p.Path, args...)
	command.Dir = p.t.TempDir()
	command.Env = append([]string{runProgram + "=1", "PATH=" + os.Getenv("PATH"), "HOME=" + command.Dir, "TMPDIR=" + os.TempDir()}, p.Environ...)
	defaults := []string{"DATA=" + p.Data, "ADDR=127.0.0.1:0", "NBD_ADDR=", "ADMIN_PASSWORD=" + storetest.Password}
	for _, setting := range slices.Concat(defaults, p.Settings) {
		command.Env = append(command.Env, config.EnvPrefix+setting)
	}
	return command
}

// Start runs the program and waits until it says where it is.
func (p *Program) Start() {
	p.t.Helper()
	p.Launch()
	url := p.Await(`(?m)^blockconsole is at (\S+)$`)
	p.url.Store(&url)
}

// Launch runs the program and does not wait.
func (p *Program) Launch() {
	p.t.Helper()
	// Not with the test's context: it would end before the cleanup that kills it.
	p.command, p.exited = p.Command(context.Background()), make(chan struct{})
	p.stdout.reset()
	p.command.Stdout, p.command.Stderr = &p.stdout, &p.stderr
	if err := p.command.Start(); err != nil {
		p.command = nil
		p.t.Fatal(err)
	}
	go func(command *exec.Cmd, exited chan struct{}) {
		_ = command.Wait() // its ProcessState says how it ended
		close(exited)
	}(p.command, p.exited)
}

// Await waits until the standard output of the process that runs matches, and returns
// the first group.
func (p *Program) Await(pattern string) string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	deadline := time.After(Patience)
	for {
		text, changed := p.stdout.snapshot()
		if found := expression.FindStringSubmatch(text); found != nil {
			return found[1]
		}
		select {
		case <-changed:
		case <-p.exited:
			if text, _ = p.stdout.snapshot(); !expression.MatchString(text) {
				p.t.Fatalf("the program has ended with %s and has said %q\n%s", p.command.ProcessState, text, p.LogTail())
			}
		case <-deadline:
			p.t.Fatalf("the program has not said %s but %q\n%s", pattern, text, p.LogTail())
		}
	}
}

// NBD is where servers reach attached volumes, when NBD_ADDR is set.
func (p *Program) NBD() string {
	p.t.Helper()
	return p.Await(`(?m)^Servers reach attached volumes at (\S+)$`)
}

// URL is where the process that started last is or was.
func (p *Program) URL() string {
	if url := p.url.Load(); url != nil {
		return *url
	}
	return ""
}

// Kill ends the process as a power cut would, without a word to it.
func (p *Program) Kill() {
	_ = p.command.Process.Kill() // it may have ended by itself
	<-p.exited
	p.command = nil
}

// Stop ends the process as a system does that shuts down, and returns all of its
// standard output. The process has to end well.
func (p *Program) Stop() (stdout string) {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Error(err)
	}
	<-p.exited
	if !p.command.ProcessState.Success() {
		p.t.Errorf("the program ended with %s", p.command.ProcessState)
	}
	p.command = nil
	return p.stdout.String()
}

// Log is the standard error of all processes so far.
func (p *Program) Log() string { return p.stderr.String() }

const tailLines = 40

// LogTail is the end of the log, without the requests of the tests.
func (p *Program) LogTail() string {
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(p.Log()), "\n"),
		func(line string) bool { return strings.Contains(line, `"msg":"request"`) })
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// SignIn opens a session of the first user, which outlives the process.
func (p *Program) SignIn() {
	p.t.Helper()
	p.Client.SignIn(models.FirstUser, storetest.Password)
}

// output is what a process writes, while it writes it.
type output struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // closed by the next write; nil: nobody waits
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed != nil {
		close(o.changed)
		o.changed = nil
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	text, _ := o.snapshot()
	return text
}

func (o *output) snapshot() (text string, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.changed == nil {
		o.changed = make(chan struct{})
	}
	return o.text.String(), o.changed
}

func (o *output) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}

// Eventually asks done again and again until it says yes: what another process does
// gives no signal.
func Eventually(t testing.TB, within time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for pause := 10 * time.Millisecond; !done(); pause = min(pause*5/4, 150*time.Millisecond) {
		if t.Context().Err() != nil || time.Now().After(deadline) {
			t.Fatalf("%s: not after %s", what, within)
		}
		<-time.After(pause)
	}
}
