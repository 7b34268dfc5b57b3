//go:build linux

package local

import (
	"errors"
	"syscall"
	"testing"

	"blockconsole/models/backend"
)

func TestDetachVolume_ClientConnected(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	key := backend.Key{Ref: s.used}
	c := useExport(t, s.b, s.used)
	for range 2 {
		if err := s.b.DetachVolume(t.Context(), key, "here", false); err != nil {
			t.Fatal(err)
		}
		v := getVolume(t, s.b, s.used)
		if v.Status != backend.Detaching || len(v.Attachments) != 1 || v.Failure != nil || backend.Micros(v.Since) <= v.Attachments[0].AttachedAt {
			t.Fatalf("%+v", v)
		}
	}
	if _, err := c.WriteAt([]byte("last words"), 4096); err != nil {
		t.Error("who is connected may finish:", err)
	}
	wantDenied(t, s.b, "127.0.0.1", s.used)
	if err := s.b.AttachVolume(t.Context(), key, "here"); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("attached while it is detached: %v", err)
	}
	if err := s.b.DeleteVolume(t.Context(), key); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("deleted while it is detached: %v", err)
	}
	c.Close()
	v := waitStatus(t, s.b, s.used, backend.Available)
	if len(v.Attachments) != 0 {
		t.Errorf("%+v", v)
	}
	if err := s.b.AttachVolume(t.Context(), key, "near"); err != nil {
		t.Fatal(err)
	}
	c, got := useExport(t, s.b, s.used), make([]byte, 10)
	if _, err := c.ReadAt(got, 4096); err != nil || string(got) != "last words" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestDetachVolume_Force(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cut  func(*harness, backend.Key) error
		want backend.Status
	}{
		{"detach", func(s *harness, k backend.Key) error { return s.b.DetachVolume(s.Context(), k, "here", true) }, backend.Available},
		{"repair", func(s *harness, k backend.Key) error { return s.b.RepairVolume(s.Context(), k, backend.ErrorStatus) }, backend.ErrorStatus},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newHarness(t, nil)
			key := backend.Key{Ref: s.used}
			c := useExport(t, s.b, s.used)
			if _, err := c.WriteAt([]byte("answered"), 0); err != nil {
				t.Fatal(err)
			}
			if err := s.b.RepairVolume(t.Context(), key, backend.Available); backend.AsError(err, backend.CodeConflict) == nil {
				t.Errorf("repaired in use: %v", err)
			}
			if err := s.b.DetachVolume(t.Context(), key, "here", false); err != nil {
				t.Fatal(err)
			}
			if err := tt.cut(s, key); err != nil {
				t.Fatal(err)
			}
			if err := c.Ended(); err != nil {
				t.Error(err)
			}
			waitStatus(t, s.b, s.used, tt.want)
			s.reopen()
			if v := getVolume(t, s.b, s.used); v.Status != tt.want || len(v.Attachments) > 0 {
				t.Errorf("%+v", v)
			}
		})
	}
}

func TestDetachVolume_LostWrites(t *testing.T) {
	t.Parallel()
	d := &failingDisk{errno: syscall.EIO}
	s := newHarness(t, d.hook)
	key := backend.Key{Ref: s.used}
	c := useExport(t, s.b, s.used)
	if _, err := c.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	d.failOn(opSync)
	if err := c.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the client receives %v", err)
	}
	d.failOn("")
	if err := c.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("what was lost is forgotten: %v", err)
	}
	if err := s.b.DetachVolume(t.Context(), key, "here", true); err != nil {
		t.Fatal(err)
	}
	var fault *backend.Error
	if v := waitStatus(t, s.b, s.used, backend.ErrorStatus); !errors.As(v.Failure, &fault) || fault.Code != backend.CodeFault || fault.Op != "flush" || len(v.Attachments) > 0 {
		t.Errorf("%+v", v)
	}
	s.reopen()
	if v := getVolume(t, s.b, s.used); v.Status != backend.ErrorStatus || v.Failure == nil {
		t.Errorf("%+v", v)
	}
	if err := s.b.RepairVolume(t.Context(), key, backend.Available); err != nil {
		t.Fatal(err)
	}
	if err := s.b.AttachVolume(t.Context(), key, "here"); err != nil {
		t.Fatal(err)
	}
	if err := useExport(t, s.b, s.used).Flush(); err != nil {
		t.Error(err)
	}
}

func TestDetachVolume_DiskRefuses(t *testing.T) {
	t.Parallel()
	d := &failingDisk{errno: syscall.EROFS}
	s := newHarness(t, d.hook)
	key := backend.Key{Ref: s.used}
	c := useExport(t, s.b, s.used)
	if err := s.b.DetachVolume(t.Context(), key, "here", false); err != nil {
		t.Fatal(err)
	}
	d.failOn(opRename)
	c.Close()
	settle(t, s.b)
	if v := getVolume(t, s.b, s.used); v.Status != backend.Detaching || v.Failure == nil {
		t.Fatalf("%s %v", v.Status, v.Failure)
	}
	d.failOn("")
	if err := s.b.DetachVolume(t.Context(), key, "here", false); err != nil { // the console repeats it, and so does the backend later
		t.Fatal(err)
	}
	if v := waitStatus(t, s.b, s.used, backend.Available); v.Failure != nil {
		t.Error(v.Failure)
	}
}
