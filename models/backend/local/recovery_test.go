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
	"syscall"
	"testing"

	"blockconsole/models/backend"
)

// put writes a file below dir, with its folders.
func put(t *testing.T, dir, name, content string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// litter puts things into a closed stage that are not ours, or only half, and
// links that lead to outside.
func litter(t *testing.T, s *stage, outside string, refs []string) {
	t.Helper()
	put(t, outside, "precious/data.raw", "precious")
	good, err := os.ReadFile(filepath.Join(s.dir, "volumes", s.bare, metaFile))
	if err != nil {
		t.Fatal(err)
	}
	as := func(ref string) string { return strings.ReplaceAll(string(good), s.bare, ref) }
	put(t, s.dir, "volumes/lost+found/x", "x")
	put(t, s.dir, "volumes/stray.txt", "stray")
	put(t, s.dir, "volumes/"+refs[0]+"/data.raw", "no description")
	put(t, s.dir, "volumes/"+refs[1]+"/meta.json", "{torn")
	put(t, s.dir, "volumes/"+refs[2]+"/meta.json", as(refs[2]))
	put(t, s.dir, "volumes/"+refs[2]+"/data.raw", "not a GiB")
	put(t, s.dir, "volumes/"+refs[3]+"/meta.json", as(newRef(t))) // describes another
	put(t, s.dir, "snapshots/"+refs[4]+"/meta.json", as(refs[4])) // a volume among the snapshots
	put(t, s.dir, "volumes/"+refs[5]+"/meta.json", as(refs[5]))
	put(t, s.dir, "tmp/"+refs[6]+"/data.raw", "ours, half made")
	put(t, s.dir, "tmp/"+refs[6]+".meta", "ours")
	put(t, s.dir, "tmp/upload.part", "not ours")
	put(t, s.dir, "tmp/"+refs[7]+"/thesis.txt", "not ours in a folder like ours")
	put(t, s.dir, "trash/holiday.jpg", "not ours")
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

func TestQuarantine(t *testing.T) {
	s := newStage(t, nil)
	s.b.Close()
	outside, refs := t.TempDir(), make([]string, 8)
	for i := range refs {
		refs[i] = newRef(t)
	}
	litter(t, s, outside, refs)
	var log bytes.Buffer
	s.b = open(t, Options{Dir: s.dir, Log: slog.New(slog.NewJSONHandler(&log, nil))})
	found := map[string]bool{}
	for lines := json.NewDecoder(&log); lines.More(); {
		var line struct{ Path, Now, Reason string }
		if err := lines.Decode(&line); err != nil {
			t.Fatal(err)
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
		"volumes/lost+found", "volumes/stray.txt", "volumes/" + refs[0], "volumes/" + refs[1], "volumes/" + refs[2], "volumes/" + refs[3],
		"snapshots/" + refs[4], "volumes/" + refs[5], "tmp/upload.part", "tmp/" + refs[7], "trash/holiday.jpg", "volumes/link",
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
	if len(found) != 13 || quarantined() != 13 {
		t.Errorf("%d things were put aside, want 13: %v", quarantined(), found)
	}
	if got, err := os.ReadFile(filepath.Join(outside, "precious/data.raw")); err != nil || string(got) != "precious" {
		t.Errorf("behind the links: %q %v", got, err)
	}
	s.whole()
	s.b.Close()
	s.b = open(t, Options{Dir: s.dir})
	if n := quarantined(); n != 13 {
		t.Errorf("%d things after the next start", n)
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, s *stage)
		want  string
	}{
		"a folder in use": {func(t *testing.T, s *stage) { open(t, Options{Dir: s.dir}) }, ErrInUse.Error()},
		"a file as folder": {func(t *testing.T, s *stage) {
			os.RemoveAll(filepath.Join(s.dir, "trash"))
			put(t, s.dir, "trash", "")
		}, "trash is not a folder"},
		"a link as folder": {func(t *testing.T, s *stage) {
			os.RemoveAll(filepath.Join(s.dir, "images"))
			os.Symlink("/etc", filepath.Join(s.dir, "images"))
		}, "images is not a folder"},
		"a newer format": {func(t *testing.T, s *stage) {
			path := filepath.Join("volumes", s.vol, metaFile)
			raw, _ := os.ReadFile(filepath.Join(s.dir, path))
			put(t, s.dir, path, strings.Replace(string(raw), `"format": 1`, `"format": 2`, 1))
		}, "newer version"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, nil)
			s.b.Close()
			tt.spoil(t, s)
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
	s := newStage(t, nil)
	if _, err := Open(Options{Dir: s.dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
	if _, err := s.b.Volume(ctx, backend.Key{Ref: s.vol}); err != nil {
		t.Errorf("the one that has it is disturbed: %v", err)
	}
}

func TestModes(t *testing.T) {
	s := newStage(t, nil)
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

func TestImages(t *testing.T) {
	ctx := context.Background()
	b := open(t, Options{Dir: t.TempDir()})
	images := b.path("images")
	put(t, images, "disk.raw", "raw bytes")
	put(t, images, "disk.img", "img bytes")
	put(t, images, "notes.txt", "x")
	put(t, images, ".hidden.raw", "x")
	put(t, images, "folder.raw/x", "x")
	if err := os.Symlink("/etc/passwd", images+"/link.raw"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(images+"/pipe.raw", 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, images, "large.raw", "")
	if err := os.Truncate(images+"/large.raw", gib+1); err != nil {
		t.Fatal(err)
	}
	list, err := b.Images(ctx)
	if err != nil || len(list) != 3 || list[0] != (backend.Image{ID: "disk.img", Name: "disk.img", SizeBytes: 9}) {
		t.Fatalf("%+v %v", list, err)
	}
	for _, id := range []string{"link.raw", "pipe.raw", "folder.raw", "notes.txt", ".hidden.raw", "../images/disk.raw", "/etc/passwd.raw", "none.raw", "a\x00.raw"} {
		if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1, Image: id}); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	var invalid *backend.Error
	if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1, Image: "large.raw"}); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "size_gib" {
		t.Errorf("an image that does not fit: %v", err)
	}
	v, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 2, Image: "large.raw"})
	if err != nil || v.Image != "large.raw" {
		t.Errorf("%+v %v", v, err)
	}
	settle(t, b)
	if fi, err := os.Stat(b.path("volumes", v.Ref, dataFile)); err != nil || fi.Size() != 2*gib {
		t.Errorf("%v %v", fi, err)
	}
}

func TestRefsNeverReachAPath(t *testing.T) {
	ctx := context.Background()
	b := open(t, Options{Dir: t.TempDir()})
	for _, ref := range []string{"", ".", "..", "../../x", strings.Repeat("a", 36), strings.ToUpper(newRef(t)), newRef(t) + "/", "00000000-0000-0000-0000-00000000000\x00"} {
		if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: ref, SizeGiB: 1}); backend.AsError(err, backend.CodeInvalid) == nil {
			t.Errorf("%q: %v", ref, err)
		}
		if _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: ref}); backend.AsError(err, backend.CodeInvalid) == nil {
			t.Errorf("%q: %v", ref, err)
		}
	}
	for _, name := range []string{strings.Repeat("n", 256), "\xff"} {
		var invalid *backend.Error
		if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1, Name: name}); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "name" {
			t.Errorf("%q: %v", name, err)
		}
	}
	one := newRef(t)
	if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: one, SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	if _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: one, Volume: backend.Key{Ref: one}}); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("one ref for two: %v", err)
	}
}
