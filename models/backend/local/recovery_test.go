//go:build linux

package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"blockconsole/models/backend"
)

// writeFile writes a file below dir, with its folders.
func writeFile(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// addForeignFiles adds foreign and incomplete files, and links to the folder outside, to
// a closed backend's folder.
func addForeignFiles(t *testing.T, s *harness, outside string, refs []string) {
	t.Helper()
	writeFile(t, outside, "precious/data.raw", "precious")
	good, err := os.ReadFile(filepath.Join(s.dir, "volumes", s.bare, metaFile))
	if err != nil {
		t.Fatal(err)
	}
	as := func(ref string) string { return strings.ReplaceAll(string(good), s.bare, ref) }
	writeFile(t, s.dir, "volumes/lost+found/x", "x")
	writeFile(t, s.dir, "volumes/stray.txt", "stray")
	writeFile(t, s.dir, "volumes/"+refs[0]+"/data.raw", "no description")
	writeFile(t, s.dir, "volumes/"+refs[1]+"/meta.json", "{torn")
	writeFile(t, s.dir, "volumes/"+refs[2]+"/meta.json", as(refs[2]))
	writeFile(t, s.dir, "volumes/"+refs[2]+"/data.raw", "not a GiB")
	writeFile(t, s.dir, "volumes/"+refs[3]+"/meta.json", as(newRef(t))) // describes another
	writeFile(t, s.dir, "snapshots/"+refs[4]+"/meta.json", as(refs[4])) // a volume among the snapshots
	writeFile(t, s.dir, "volumes/"+refs[5]+"/meta.json", as(refs[5]))
	writeFile(t, s.dir, "tmp/"+refs[6]+"/data.raw", "ours, half made")
	writeFile(t, s.dir, "tmp/"+refs[6]+".meta", "ours")
	writeFile(t, s.dir, "tmp/upload.part", "not ours")
	writeFile(t, s.dir, "tmp/"+refs[7]+"/thesis.txt", "not ours in a folder like ours")
	writeFile(t, s.dir, "trash/holiday.jpg", "not ours")
	for to, from := range map[string]string{
		outside + "/precious":          "volumes/link",
		outside + "/precious/data.raw": "volumes/" + refs[5] + "/data.raw",
		outside:                        "tmp/" + newRef(t),
	} {
		if err := os.Symlink(to, filepath.Join(s.dir, from)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpen_Quarantine(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.b.Close()
	outside, refs := t.TempDir(), make([]string, 8)
	for i := range refs {
		refs[i] = newRef(t)
	}
	addForeignFiles(t, s, outside, refs)
	var log bytes.Buffer
	s.b = open(t, Options{Dir: s.dir, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	found := map[string]bool{}
	for lines := json.NewDecoder(&log); lines.More(); {
		var line struct{ Path, Now, Reason, Damage string }
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.Damage != "" {
			continue
		}
		from, err := filepath.Rel(s.dir, line.Path)
		if err != nil {
			t.Error(err)
		}
		found[from] = true
		if _, err := os.Lstat(line.Now); err != nil || line.Reason == "" {
			t.Errorf("%+v %v", line, err)
		}
	}
	for _, want := range []string{
		"volumes/lost+found", "volumes/stray.txt", "volumes/" + refs[0], "volumes/" + refs[1], "volumes/" + refs[3],
		"snapshots/" + refs[4], "tmp/upload.part", "tmp/" + refs[7], "trash/holiday.jpg", "volumes/link",
	} {
		if !found[want] {
			t.Errorf("%s was not put aside", want)
		}
	}
	quarantined := func() int {
		entries, err := os.ReadDir(filepath.Join(s.dir, "quarantine"))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if len(found) != 11 || quarantined() != 11 {
		t.Errorf("%d things were put aside, want 11: %v", quarantined(), found)
	}
	for _, ref := range []string{refs[2], refs[5]} { // ours, without their data
		wantDamaged(t, s.b, ref, s.dataPath(ref))
	}
	if got, err := os.ReadFile(filepath.Join(outside, "precious/data.raw")); err != nil || string(got) != "precious" {
		t.Errorf("behind the links: %q %v", got, err)
	}
	s.wantConsistent()
	s.b.Close()
	s.b = open(t, Options{Dir: s.dir})
	if n := quarantined(); n != 11 {
		t.Errorf("%d things after the next start", n)
	}
}

func TestOpen_Errors(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, s *harness)
		want  string
	}{
		"a folder in use": {func(t *testing.T, s *harness) { open(t, Options{Dir: s.dir}) }, ErrInUse.Error()},
		"a file as folder": {func(t *testing.T, s *harness) {
			os.RemoveAll(filepath.Join(s.dir, "trash"))
			writeFile(t, s.dir, "trash", "")
		}, "trash is not a folder"},
		"a link as folder": {func(t *testing.T, s *harness) {
			os.RemoveAll(filepath.Join(s.dir, "images"))
			os.Symlink("/etc", filepath.Join(s.dir, "images"))
		}, "images is not a folder"},
		"a newer format": {func(t *testing.T, s *harness) {
			path := filepath.Join("volumes", s.vol, metaFile)
			raw, _ := os.ReadFile(filepath.Join(s.dir, path))
			writeFile(t, s.dir, path, strings.Replace(string(raw), `"format": 1`, `"format": 2`, 1))
		}, "newer version"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newHarness(t, nil)
			s.b.Close()
			tt.spoil(t, s)
			waitForks()
			b, err := Open(Options{Dir: s.dir, Log: slog.New(slog.DiscardHandler)})
			if err == nil {
				b.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), s.dir) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := Open(Options{}); err == nil {
		t.Error("no folder is accepted")
	}
	s := newHarness(t, nil)
	if _, err := Open(Options{Dir: s.dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
	if _, err := s.b.Volume(ctx, backend.Key{Ref: s.vol}); err != nil {
		t.Errorf("the one that has it is disturbed: %v", err)
	}
}

func TestOpen_FileModes(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == s.dir {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		switch {
		case e.IsDir():
			want = 0o700
		case strings.HasSuffix(path, s.snap+"/"+dataFile):
			want = 0o400
		}
		if fi.Mode().Perm() != want {
			t.Errorf("%s is %o, want %o", path, fi.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestClose_LockShared: a program that is being started has the files of this process
// until it runs. The folder is free after Close all the same.
func TestClose_LockShared(t *testing.T) {
	dir := t.TempDir()
	b := open(t, Options{Dir: dir})
	shared, err := unix.Dup(int(b.lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(shared)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Dir: dir})
}
