package web

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to damage databases with

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/web/config"
)

// program builds the real program once, without a C compiler.
var program = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "blockconsole-program-")
	if err != nil {
		return "", err
	}
	programFolder = folder
	path := filepath.Join(folder, "blockconsole")
	command := exec.Command("go", "build", "-o", path, ".")
	command.Dir = ".."
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	command.Stderr = os.Stderr
	return path, command.Run()
})

// programFolder is where program was built; empty when no test needed it.
var programFolder string

func TestMain(m *testing.M) {
	code := m.Run()
	if programFolder != "" {
		_ = os.RemoveAll(programFolder)
	}
	os.Exit(code)
}

// invoke prepares the program with settings and nothing else of ours around it.
func invoke(t *testing.T, ctx context.Context, settings []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(ctx, path, args...)
	command.Dir = t.TempDir()
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + command.Dir}
	for _, s := range settings {
		command.Env = append(command.Env, config.EnvPrefix+s)
	}
	return command
}

// refusal starts the program, which must not start, and returns what it says.
func refusal(t *testing.T, settings ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	command := invoke(t, ctx, settings)
	var stderr, stdout bytes.Buffer
	command.Stderr, command.Stdout = &stderr, &stdout
	if err := command.Run(); err == nil || ctx.Err() != nil {
		t.Fatalf("it started, or hung: %v\n%s", err, stderr.String())
	}
	if stdout.Len() > 0 {
		t.Errorf("it promised %q", stdout.String())
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	last := lines[len(lines)-1]
	if !strings.HasPrefix(last, "blockconsole: ") || strings.Contains(last, "goroutine") {
		t.Errorf("it says %q", stderr.String())
	}
	return last
}

func wantWords(t *testing.T, sentence string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(sentence, word) {
			t.Errorf("no %q in %q", word, sentence)
		}
	}
}

// started is a running program.
type started struct {
	url, password string
	data          string
	stop          func() (stdout, stderr string)
}

var (
	addressLine  = regexp.MustCompile(`(?m)^blockconsole is at (http://\S+)$`)
	passwordLine = regexp.MustCompile(`(?m)^Sign in as admin with the password (\S+) `)
)

// start runs the program until it says where it is, on a free port.
func start(t *testing.T, data string, settings ...string) started {
	t.Helper()
	// Not the test's context: it would kill the program before the cleanup ends it.
	command := invoke(t, context.Background(), append([]string{"DATA=" + data, "ADDR=127.0.0.1:0", "NBD_ADDR="}, settings...))
	var stderr bytes.Buffer
	command.Stderr = &stderr
	pipe, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	reader := bufio.NewReader(pipe)
	s := started{data: data}
	for s.url == "" {
		line, err := reader.ReadString('\n')
		said.WriteString(line)
		if m := addressLine.FindStringSubmatch(line); m != nil {
			s.url = m[1]
		}
		if err != nil {
			_ = command.Wait()
			t.Fatalf("it did not start: %s%s", said.String(), stderr.String())
		}
	}
	// The password follows in the same breath; the end of the output is the end of the program.
	rest := make(chan string, 1)
	passwords := make(chan string, 1)
	go func() {
		var all strings.Builder
		for {
			line, err := reader.ReadString('\n')
			all.WriteString(line)
			if m := passwordLine.FindStringSubmatch(line); m != nil {
				passwords <- m[1]
			}
			if err != nil {
				close(passwords)
				rest <- all.String()
				return
			}
		}
	}()
	var once sync.Once
	var out string
	s.stop = func() (string, string) {
		once.Do(func() {
			if err := command.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			out = said.String() + <-rest
			if err := command.Wait(); err != nil {
				t.Errorf("it ended with %v: %s", err, stderr.String())
			}
		})
		return out, stderr.String()
	}
	t.Cleanup(func() { s.stop() })
	if !strings.Contains(strings.Join(settings, " "), "ADMIN_PASSWORD") && !exists(filepath.Join(data, "started-before")) {
		s.password = <-passwords
	}
	return s
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// markStarted tells start that the folder has a first user.
func markStarted(t *testing.T, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(data, "started-before"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func signInStatus(t *testing.T, base, name, password string) int {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/login", strings.NewReader(url.Values{"username": {name}, "password": {password}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestFirstAndLaterStarts(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	data := filepath.Join(t.TempDir(), "new", "data")
	s := start(t, data)
	if status := signInStatus(t, s.url, "admin", s.password); status != http.StatusSeeOther {
		t.Errorf("sign-in with the password shown: %d", status)
	}
	stdout, stderr := s.stop()
	if strings.Count(stdout, s.password) != 1 || strings.Contains(stderr, s.password) {
		t.Errorf("the password is shown elsewhere:\n%s\n%s", stdout, stderr)
	}
	for path, want := range map[string]os.FileMode{data: 0o700, filepath.Join(data, "blockconsole.db"): 0o600, filepath.Join(data, "lock"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, error %v; want %v", path, info, err, want)
		}
	}
	markStarted(t, data)
	again := start(t, data)
	stdout, _ = again.stop()
	if strings.Contains(stdout, "password") {
		t.Errorf("a later start says %q", stdout)
	}
}

func TestFirstPasswordIsGiven(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	s := start(t, t.TempDir(), "ADMIN_PASSWORD=given by hand")
	if status := signInStatus(t, s.url, "admin", "given by hand"); status != http.StatusSeeOther {
		t.Errorf("sign-in: %d", status)
	}
	if stdout, stderr := s.stop(); strings.Contains(stdout+stderr, "given by hand") {
		t.Error("the password given is shown")
	}
}

func TestStartErrorsAreOneSentence(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Run("bad variable", func(t *testing.T) {
		wantWords(t, refusal(t, "TIMEZONE=Mars/Olympus"), "BLOCKCONSOLE_TIMEZONE", "Mars/Olympus")
	})
	t.Run("no cloud is named", func(t *testing.T) {
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "ADDR=127.0.0.1:0", "BACKEND=openstack"), "OS_CLOUD", "OS_AUTH_URL", "clouds.yaml")
	})
	t.Run("the data of another backend", func(t *testing.T) {
		data := t.TempDir()
		store, err := store.Open(filepath.Join(data, "blockconsole.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.CheckIdentity(t.Context(), models.Identity{Backend: "openstack", Cloud: "keystone.example.com:5000"}); err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+data, "ADDR=127.0.0.1:0", "NBD_ADDR="), "keystone.example.com:5000", "BLOCKCONSOLE_BACKEND", "BLOCKCONSOLE_DATABASE")
	})
	t.Run("busy port", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "ADDR="+listener.Addr().String()), listener.Addr().String(), "in use", "BLOCKCONSOLE_ADDR")
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "ADDR=127.0.0.1:0", "NBD_ADDR="+listener.Addr().String()), listener.Addr().String(), "in use", "BLOCKCONSOLE_NBD_ADDR")
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "ADDR=127.0.0.1:0", "NBD_ADDR=", "METRICS_ADDR="+listener.Addr().String()), "in use", "BLOCKCONSOLE_METRICS_ADDR")
	})
	t.Run("data folder in use", func(t *testing.T) {
		s := start(t, t.TempDir())
		wantWords(t, refusal(t, "DATA="+s.data, "ADDR=127.0.0.1:0"), s.data, "in use", "BLOCKCONSOLE_DATA")
	})
	t.Run("data folder is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+file, "ADDR=127.0.0.1:0"), file, "BLOCKCONSOLE_DATA")
	})
	t.Run("no rights", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may do anything")
		}
		folder := t.TempDir()
		if err := os.Chmod(folder, 0o500); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+filepath.Join(folder, "data"), "ADDR=127.0.0.1:0"), folder, "BLOCKCONSOLE_DATA")
	})
	t.Run("no space", func(t *testing.T) {
		folder := t.TempDir()
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder).CombinedOutput(); err != nil {
			t.Skipf("a small file system cannot be mounted: %v: %s", err, out)
		}
		t.Cleanup(func() {
			if out, err := exec.Command("umount", folder).CombinedOutput(); err != nil {
				t.Errorf("umount: %v: %s", err, out)
			}
		})
		wantWords(t, refusal(t, "DATA="+filepath.Join(folder, "data"), "ADDR=127.0.0.1:0"), "no space", "blockconsole.db", "free some", "BLOCKCONSOLE_DATA")
	})
	t.Run("damaged database", func(t *testing.T) {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, "blockconsole.db"), bytes.Repeat([]byte("no database at all\n"), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+data, "ADDR=127.0.0.1:0"), "blockconsole.db", "damaged", "restore a backup")
	})
	t.Run("newer database", func(t *testing.T) {
		data := t.TempDir()
		start(t, data).stop()
		db, err := sql.Open("sqlite", filepath.Join(data, "blockconsole.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("INSERT INTO migrations (id) VALUES ('9999_future')"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+data, "ADDR=127.0.0.1:0"), "newer", "9999_future")
	})
	t.Run("database out of reach", func(t *testing.T) {
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "ADDR=127.0.0.1:0", "DATABASE=/nowhere/at/all.db"), "/nowhere/at/all.db", "BLOCKCONSOLE_DATABASE")
	})
}

func TestPasswdWhileItRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	s := start(t, t.TempDir())
	passwd := func(input string, args ...string) (string, error) {
		command := invoke(t, t.Context(), []string{"DATA=" + s.data}, append([]string{"passwd"}, args...)...)
		command.Stdin = strings.NewReader(input)
		out, err := command.CombinedOutput()
		return string(out), err
	}
	if out, err := passwd("from the terminal\n", "admin"); err != nil || strings.Contains(out, "from the terminal") {
		t.Fatalf("%s, error %v", out, err)
	}
	if status := signInStatus(t, s.url, "admin", "from the terminal"); status != http.StatusSeeOther {
		t.Errorf("sign-in with the new password: %d", status)
	}
	if status := signInStatus(t, s.url, "admin", s.password); status != http.StatusUnauthorized {
		t.Errorf("sign-in with the old password: %d", status)
	}
	for name, tc := range map[string]struct {
		input string
		args  []string
		says  string
	}{
		"unknown user": {"a good password\n", []string{"nobody"}, `there is no user "nobody"`}, "short": {"short\n", []string{"admin"}, "10 characters"},
		"empty": {"", []string{"admin"}, "10 characters"}, "no name": {"", nil, "passwd NAME"},
	} {
		if out, err := passwd(tc.input, tc.args...); err == nil || !strings.Contains(out, tc.says) {
			t.Errorf("%s: %q, error %v", name, out, err)
		}
	}
	command := invoke(t, t.Context(), []string{"DATA=" + t.TempDir()}, "passwd", "admin")
	if out, err := command.CombinedOutput(); err == nil || !strings.Contains(string(out), "there is no database") {
		t.Errorf("without a database: %q, error %v", out, err)
	}
}

func TestUnknownCommandsAndHelp(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	out, err := invoke(t, t.Context(), nil, "serve").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `unknown command "serve"`) {
		t.Errorf("%q, error %v", out, err)
	}
	out, err = invoke(t, t.Context(), nil, "-nonsense").CombinedOutput()
	if err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), "-nonsense") {
		t.Errorf("%q, error %v", out, err)
	}
	out, err = invoke(t, t.Context(), nil, "-h").Output()
	if err != nil {
		t.Error(err)
	}
	for _, s := range config.Settings() {
		if s.Flag != "" && !strings.Contains(string(out), "-"+s.Flag) {
			t.Errorf("-h does not tell of -%s", s.Flag)
		}
	}
}
