package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to damage databases with

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/web/app/apptest"
	"blockconsole/web/config"
)

func TestMain(m *testing.M) { apptest.TestMain(m, 0) }

// refusal starts the program, which must not start, and returns what it says.
func refusal(t *testing.T, settings ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	command := apptest.NewProgram(t, settings...).Command(ctx)
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

// start runs the program, which has to generate a password when it makes a database.
func start(t *testing.T, settings ...string) *apptest.Program {
	t.Helper()
	p := apptest.NewProgram(t, append([]string{"ADMIN_PASSWORD="}, settings...)...)
	p.Start()
	return p
}

// generatedPassword is what the first start shows.
func generatedPassword(p *apptest.Program) string {
	return p.Await(`(?m)^Sign in as admin with the password (\S+) `)
}

func signInStatus(p *apptest.Program, password string) int {
	return p.Client.Post("/login", apptest.Form("username", models.FirstUser, "password", password)).StatusCode
}

func TestStart_GeneratedPassword(t *testing.T) {
	t.Parallel()
	p := start(t)
	password := generatedPassword(p)
	if status := signInStatus(p, password); status != http.StatusSeeOther {
		t.Errorf("sign-in with the password shown: %d", status)
	}
	if stdout := p.Stop(); strings.Count(stdout, password) != 1 || strings.Contains(p.Log(), password) {
		t.Errorf("the password is shown elsewhere:\n%s\n%s", stdout, p.Log())
	}
	for path, want := range map[string]os.FileMode{p.Data: 0o700, filepath.Join(p.Data, "blockconsole.db"): 0o600, filepath.Join(p.Data, "lock"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, error %v; want %v", path, info, err, want)
		}
	}
	p.Start()
	if stdout := p.Stop(); strings.Contains(stdout, "password") {
		t.Errorf("a later start says %q", stdout)
	}
}

func TestStart_GivenPassword(t *testing.T) {
	t.Parallel()
	p := start(t, "ADMIN_PASSWORD=given by hand")
	if status := signInStatus(p, "given by hand"); status != http.StatusSeeOther {
		t.Errorf("sign-in: %d", status)
	}
	if stdout := p.Stop(); strings.Contains(stdout+p.Log(), "given by hand") {
		t.Error("the password given is shown")
	}
}

func TestStart_Refused(t *testing.T) {
	t.Parallel()
	t.Run("bad variable", func(t *testing.T) {
		wantWords(t, refusal(t, "TIMEZONE=Mars/Olympus"), "BLOCKCONSOLE_TIMEZONE", "Mars/Olympus")
	})
	t.Run("no cloud is named", func(t *testing.T) {
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "BACKEND=openstack"), "OS_CLOUD", "OS_AUTH_URL", "clouds.yaml")
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
		wantWords(t, refusal(t, "DATA="+data), "keystone.example.com:5000", "BLOCKCONSOLE_BACKEND", "BLOCKCONSOLE_DATABASE")
	})
	t.Run("busy port", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "ADDR="+listener.Addr().String()), listener.Addr().String(), "in use", "BLOCKCONSOLE_ADDR")
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "NBD_ADDR="+listener.Addr().String()), listener.Addr().String(), "in use", "BLOCKCONSOLE_NBD_ADDR")
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "METRICS_ADDR="+listener.Addr().String()), "in use", "BLOCKCONSOLE_METRICS_ADDR")
	})
	t.Run("data folder in use", func(t *testing.T) {
		p := start(t)
		wantWords(t, refusal(t, "DATA="+p.Data), p.Data, "in use", "BLOCKCONSOLE_DATA")
	})
	t.Run("data folder is a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+file), file, "BLOCKCONSOLE_DATA")
	})
	t.Run("no rights", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may do anything")
		}
		folder := t.TempDir()
		if err := os.Chmod(folder, 0o500); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+filepath.Join(folder, "data")), folder, "BLOCKCONSOLE_DATA")
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
		wantWords(t, refusal(t, "DATA="+filepath.Join(folder, "data")), "no space", "blockconsole.db", "free some", "BLOCKCONSOLE_DATA")
	})
	t.Run("damaged database", func(t *testing.T) {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, "blockconsole.db"), bytes.Repeat([]byte("no database at all\n"), 1000), 0o600); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+data), "blockconsole.db", "damaged", "restore a backup")
	})
	t.Run("newer database", func(t *testing.T) {
		p := start(t)
		p.Stop()
		db, err := sql.Open("sqlite", filepath.Join(p.Data, "blockconsole.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec("INSERT INTO migrations (id) VALUES ('9999_future')"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refusal(t, "DATA="+p.Data), "newer", "9999_future")
	})
	t.Run("database out of reach", func(t *testing.T) {
		wantWords(t, refusal(t, "DATA="+t.TempDir(), "DATABASE=/nowhere/at/all.db"), "/nowhere/at/all.db", "BLOCKCONSOLE_DATABASE")
	})
}

// output is what a run of the program says that ends by itself.
func output(t *testing.T, p *apptest.Program, stdin string, args ...string) (string, error) {
	command := p.Command(t.Context(), args...)
	command.Stdin = strings.NewReader(stdin)
	out, err := command.CombinedOutput()
	return string(out), err
}

func TestPasswd_WhileRunning(t *testing.T) {
	t.Parallel()
	p := start(t)
	generated := generatedPassword(p)
	if out, err := output(t, p, "from the terminal\n", "passwd", "admin"); err != nil || strings.Contains(out, "from the terminal") {
		t.Fatalf("%s, error %v", out, err)
	}
	if status := signInStatus(p, "from the terminal"); status != http.StatusSeeOther {
		t.Errorf("sign-in with the new password: %d", status)
	}
	if status := signInStatus(p, generated); status != http.StatusUnauthorized {
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
		if out, err := output(t, p, tc.input, append([]string{"passwd"}, tc.args...)...); err == nil || !strings.Contains(out, tc.says) {
			t.Errorf("%s: %q, error %v", name, out, err)
		}
	}
	if out, err := output(t, apptest.NewProgram(t), "", "passwd", "admin"); err == nil || !strings.Contains(out, "there is no database") {
		t.Errorf("without a database: %q, error %v", out, err)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	p := apptest.NewProgram(t)
	if out, err := output(t, p, "", "serve"); err == nil || !strings.Contains(out, `unknown command "serve"`) {
		t.Errorf("%q, error %v", out, err)
	}
	if out, err := output(t, p, "", "-nonsense"); err == nil || strings.Count(out, "\n") != 1 || !strings.Contains(out, "-nonsense") {
		t.Errorf("%q, error %v", out, err)
	}
	out, err := p.Command(t.Context(), "-h").Output()
	if err != nil {
		t.Error(err)
	}
	for _, s := range config.Settings() {
		if s.Flag != "" && !strings.Contains(string(out), "-"+s.Flag) {
			t.Errorf("-h does not tell of -%s", s.Flag)
		}
	}
}

// TestBuiltProgram: main does what the tests run instead of it.
func TestBuiltProgram(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blockconsole")
	build := exec.Command("go", "build", "-o", path, "blockconsole")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := apptest.NewProgram(t)
	p.Path = path
	p.Start()
	if a := p.Client.Get("/readyz"); a.Body != "ready\n" {
		t.Errorf("readyz says %q", a.Body)
	}
	p.Stop()
}
