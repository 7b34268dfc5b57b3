//go:build linux

package local

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"blockconsole/models/backend"
)

// duringCopy runs change once, when a copy or clone of a new object has begun.
type duringCopy struct {
	armed  atomic.Bool
	change func() error
}

func (d *duringCopy) hook(o op, path string) error {
	if (o == opCopy || o == opClone) && !strings.Contains(path, "probe") && d.armed.CompareAndSwap(true, false) {
		return d.change()
	}
	return nil
}

func TestCreateVolume_ImageChanges(t *testing.T) {
	t.Parallel()
	for where, dir := range map[string]func(t *testing.T) string{
		"copied": func(t *testing.T) string { return memDir(t) },
		"shared": func(t *testing.T) string { return filepath.Join(xfs(t, 4*gib), "data") },
	} {
		for name, change := range map[string]func(path string) error{
			"written in place": func(path string) error { return writeAt(path, "other bytes", 0) },
			"grown":            func(path string) error { return writeAt(path, "more", 32<<20) },
			"shrunk":           func(path string) error { return os.Truncate(path, 20<<20) },
			"replaced": func(path string) error {
				return errors.Join(writeAt(path+".new", "x", 32<<20-1), os.Chtimes(path+".new", time.Time{}, time.Unix(1e9, 0)), os.Rename(path+".new", path))
			},
			"removed": os.Remove,
			"":        func(string) error { return nil },
		} {
			t.Run(where+"/"+name, func(t *testing.T) {
				d := &duringCopy{}
				b := open(t, Options{Dir: dir(t), hook: d.hook})
				path := b.path("images", "disk.raw")
				if err := errors.Join(writeAt(path, strings.Repeat("x", 12<<20), 0), os.Truncate(path, 32<<20), os.Chtimes(path, time.Time{}, time.Unix(1e9, 0))); err != nil {
					t.Fatal(err)
				}
				d.change = func() error { return change(path) }
				d.armed.Store(true)
				ref := newRef(t)
				if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: ref, SizeGiB: 1, Image: "disk.raw"}); err != nil {
					t.Fatal(err)
				}
				settle(t, b)
				v := getVolume(t, b, ref)
				if d.armed.Load() {
					t.Fatal("nothing was copied")
				}
				if name == "" {
					if v.Status != backend.Available {
						t.Errorf("an image that did not change: %+v", v)
					}
					return
				}
				if why := backend.AsError(v.Failure, backend.CodeChanged); v.Status != backend.ErrorStatus || why == nil || why.Path != path {
					t.Errorf("%s: %v", v.Status, v.Failure)
				}
			})
		}
	}
}

func writeAt(path, text string, off int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), off)
	return errors.Join(err, f.Close())
}

// TestCreate_SourceShrinks: a volume or snapshot that is shortened while it is copied
// makes no AVAILABLE copy of zeroes.
func TestCreate_SourceShrinks(t *testing.T) {
	t.Parallel()
	d := &duringCopy{}
	s := newHarness(t, d.hook)
	s.b.log = slog.New(slog.NewTextHandler(io.Discard, nil))
	for name, create := range map[string]func() error{
		s.vol: func() error {
			d.change = func() error { return os.Truncate(s.dataPath(s.vol), 100<<20) }
			_, err := s.b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}})
			return err
		},
		s.snap: func() error {
			d.change = func() error {
				path := filepath.Join(s.dir, "snapshots", s.snap, dataFile)
				return errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 100<<20))
			}
			_, err := s.b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: s.copy, SizeGiB: 1, Snapshot: &backend.Key{Ref: s.snap}})
			return err
		},
	} {
		d.armed.Store(true)
		if err := create(); err != nil {
			t.Fatal(name, err)
		}
		settle(t, s.b)
	}
	snap, _ := s.snapshot(s.new)
	vol, _ := s.volume(s.copy)
	for _, state := range []backend.State{snap.State, vol.State} {
		if state.Status != backend.ErrorStatus || backend.AsError(state.Failure, backend.CodeDamaged) == nil {
			t.Errorf("%s: %v", state.Status, state.Failure)
		}
	}
}
