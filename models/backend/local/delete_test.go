//go:build linux

package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"blockconsole/models/backend"
)

func TestDeleteVolume_SnapshotUnderWay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, g := newGatedHarness(t)
	if _, err := s.b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}}); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	var busy *backend.Error
	if err := s.b.DeleteVolume(ctx, backend.Key{Ref: s.vol}); !errors.As(err, &busy) || busy.Code != backend.CodeBusy || len(busy.Dependents) != 2 {
		t.Errorf("%v", err)
	}
	if err := s.b.ExtendVolume(ctx, backend.Key{Ref: s.vol}, 2); err != nil {
		t.Errorf("growing meanwhile: %v", err)
	}
	close(g.open)
	settle(t, s.b)
	if n, ok := s.snapshot(s.new); !ok || n.Status != backend.Available || n.SizeGiB != 1 {
		t.Errorf("%+v", n)
	}
	s.wantClean(scenario{name: "snapshot"})
}

func TestDeleteSnapshot_CreationUnderWay(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s, g := newGatedHarness(t)
	key := backend.Key{Ref: s.new}
	if _, err := s.b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}}); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	if err := s.b.DeleteSnapshot(ctx, key); err != nil {
		t.Fatal(err)
	}
	if n, _ := s.snapshot(s.new); n.Status != backend.Deleting {
		t.Errorf("%+v", n)
	}
	close(g.open)
	settle(t, s.b)
	if _, ok := s.snapshot(s.new); ok {
		t.Error("still there")
	}
	s.wantClean(scenario{name: "given up"})
}

func TestDeleteSnapshot_FailureAfterReopen(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, refused := range []op{opRename, opUnlink} {
		t.Run(string(refused), func(t *testing.T) {
			var on atomic.Bool
			s := newHarness(t, func(o op, path string) error {
				if on.Load() && o == refused && filepath.Base(path) != metaFile && filepath.Ext(path) != ".meta" {
					return syscall.EACCES
				}
				return nil
			})
			on.Store(true)
			key := backend.Key{Ref: s.snap}
			if err := s.b.DeleteSnapshot(ctx, key); err != nil {
				t.Fatal(err)
			}
			settle(t, s.b)
			s.b.Close()
			s.b = open(t, Options{Dir: s.dir})
			n, _ := s.snapshot(s.snap)
			if n.Status != backend.ErrorDeleting || n.Failure == nil || n.Name != "old" {
				t.Fatalf("%+v", n)
			}
			if err := s.b.DeleteSnapshot(ctx, key); backend.AsError(err, backend.CodeConflict) == nil {
				t.Errorf("deleting before a repair: %v", err)
			}
			if err := s.b.RepairSnapshot(ctx, key, backend.Available); err != nil {
				t.Fatal(err)
			}
			s.wantClean(scenario{name: "repaired"})
			s.b.Close()
			s.b = open(t, Options{Dir: s.dir})
			if n, _ := s.snapshot(s.snap); n.Status != backend.Available || n.Failure != nil {
				t.Errorf("%+v", n)
			}
			s.wantClean(scenario{name: "repaired and restarted"})
		})
	}
}

func TestDeleteVolume_ForeignFile(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	notes := filepath.Join(s.dir, "volumes", s.bare, "notes.txt")
	if err := os.WriteFile(notes, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.b.DeleteVolume(context.Background(), backend.Key{Ref: s.bare}); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	q, err := os.ReadDir(filepath.Join(s.dir, "quarantine"))
	if err != nil || len(q) != 1 {
		t.Fatal(q, err)
	}
	if got, err := os.ReadFile(filepath.Join(s.dir, "quarantine", q[0].Name(), "notes.txt")); err != nil || string(got) != "mine" {
		t.Errorf("%q %v", got, err)
	}
	if _, ok := s.volume(s.bare); ok {
		t.Error("the volume is still shown")
	}
}

func TestRepairSnapshot_DataFileMissing(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := newHarness(t, nil)
	if err := os.Remove(filepath.Join(s.dir, "snapshots", s.snap, dataFile)); err != nil {
		t.Fatal(err)
	}
	key := backend.Key{Ref: s.snap}
	if err := s.b.RepairSnapshot(ctx, key, backend.ErrorStatus); err != nil {
		t.Fatal(err)
	}
	if err := s.b.RepairSnapshot(ctx, key, backend.Available); backend.AsError(err, backend.CodeDamaged) == nil {
		t.Errorf("%v", err)
	}
	if _, err := s.b.CreateVolume(ctx, backend.VolumeSpec{Ref: s.new, SizeGiB: 1, Snapshot: &key}); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("%v", err)
	}
	if err := s.b.DeleteSnapshot(ctx, key); err != nil {
		t.Fatal(err)
	}
	settle(t, s.b)
	s.wantClean(scenario{name: "deleted"})
}
