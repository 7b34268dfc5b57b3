package backendtest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"blockconsole/models/backend"
)

func fakeFixture(change func(*backend.Capabilities)) func(t *testing.T) Fixture {
	return func(*testing.T) Fixture {
		f := NewFake(nil)
		f.SetCapabilities(change)
		f.AddServer("srv-1", "web")
		f.AddServer("srv-2", "db")
		f.AddImage("tiny.raw", []byte("boot sector"))
		refOf := func(k backend.Key) string { return k.Ref }
		return Fixture{
			Backend: f, Project: "default", Image: "tiny.raw", ImageBytes: []byte("boot sector"),
			Settle: func(ctx context.Context) error { f.Settle(); return ctx.Err() },
			WriteVolume: func(k backend.Key, off int64, p []byte) error {
				return f.WriteVolume(refOf(k), int(off), p)
			},
			ReadVolume: func(k backend.Key, off int64, n int) ([]byte, error) {
				return f.ReadVolume(refOf(k), int(off), n)
			},
			Reopen: func() backend.Backend { return f },
		}
	}
}

func TestFake_Conformance(t *testing.T) {
	t.Run("everything", func(t *testing.T) { Run(t, fakeFixture(func(*backend.Capabilities) {})) })
	t.Run("clustered", func(t *testing.T) {
		Run(t, fakeFixture(func(c *backend.Capabilities) {
			c.MultiAttach, c.BusySnapshots, c.Shared, c.AttachSnapshots = true, true, true, true
		}))
	})
	t.Run("nothing", func(t *testing.T) {
		Run(t, fakeFixture(func(c *backend.Capabilities) { c.Attach, c.Revert, c.Repair = false, false, false }))
	})
}

func TestFaulty_Conformance(t *testing.T) {
	Run(t, func(t *testing.T) Fixture {
		f := fakeFixture(func(*backend.Capabilities) {})(t)
		f.Backend = NewFaulty(f.Backend)
		return f
	})
}

func mustVolume(t *testing.T, f *Fake, ref string) backend.Volume {
	t.Helper()
	v, err := f.Volume(context.Background(), backend.Key{Ref: ref})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFake_FinishesAtSecondPoll(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	f := NewFake(func() time.Time { return now })
	v, err := f.CreateVolume(context.Background(), backend.VolumeSpec{Ref: "r1", SizeGiB: 1})
	if err != nil || v.Status != backend.Creating || !v.CreatedAt.Equal(now) {
		t.Fatalf("%+v %v", v, err)
	}
	if got := mustVolume(t, f, "r1").Status; got != backend.Creating {
		t.Fatal("first poll:", got)
	}
	if got := mustVolume(t, f, "r1").Status; got != backend.Available {
		t.Fatal("second poll:", got)
	}
	if f.Calls("Volume") != 2 || f.Calls("CreateVolume") != 1 || f.Calls("") != 3 || f.CallLog()[0].Ref != "r1" {
		t.Fatal(f.CallLog())
	}
}

func TestFake_HoldRelease(t *testing.T) {
	ctx, f := context.Background(), NewFake(nil)
	f.Hold()
	f.CreateVolume(ctx, backend.VolumeSpec{Ref: "r1", SizeGiB: 1})
	f.SetPercent("r1", 40)
	for range 5 {
		f.Settle()
		if v := mustVolume(t, f, "r1"); v.Status != backend.Creating || v.Percent != 40 {
			t.Fatalf("%+v", v)
		}
	}
	if !f.Release("r1") || f.Release("r1") {
		t.Fatal("there is one operation to release")
	}
	if v := mustVolume(t, f, "r1"); v.Status != backend.Available {
		t.Fatalf("%+v", v)
	}
	f.CreateVolume(ctx, backend.VolumeSpec{Ref: "r2", SizeGiB: 1})
	f.Auto()
	f.Settle()
	if v := mustVolume(t, f, "r2"); v.Status != backend.Available {
		t.Fatalf("%+v", v)
	}
}

func TestFake_Fail(t *testing.T) {
	ctx, f, boom := context.Background(), NewFake(nil), &backend.Error{Code: backend.CodeNoSpace, Need: 2, Free: 1}
	f.Fail("r1", boom) // before the creation is asked for
	f.CreateVolume(ctx, backend.VolumeSpec{Ref: "r1", SizeGiB: 1})
	f.Settle()
	if v := mustVolume(t, f, "r1"); v.Status != backend.ErrorStatus || v.Failure != boom {
		t.Fatalf("%+v", v)
	}
	f.FailNext("CreateVolume", boom)
	f.CreateVolume(ctx, backend.VolumeSpec{Ref: "r2", SizeGiB: 1})
	f.CreateVolume(ctx, backend.VolumeSpec{Ref: "r3", SizeGiB: 1})
	f.Settle()
	if a, b := mustVolume(t, f, "r2"), mustVolume(t, f, "r3"); a.Status != backend.ErrorStatus || b.Status != backend.Available {
		t.Fatalf("%+v %+v", a, b)
	}
	f.FailDelete("r3", boom)
	if err := f.DeleteVolume(ctx, backend.Key{Ref: "r3"}); err != nil {
		t.Fatal(err)
	}
	f.Settle()
	if v := mustVolume(t, f, "r3"); v.Status != backend.ErrorDeleting || v.Failure != boom {
		t.Fatalf("%+v", v)
	}
	if err := f.DeleteVolume(ctx, backend.Key{Ref: "r3"}); backend.AsError(err, backend.CodeConflict) == nil {
		t.Fatal("deleting again before a repair:", err)
	}
	if err := f.RepairVolume(ctx, backend.Key{Ref: "r3"}, backend.ErrorStatus); err != nil {
		t.Fatal(err)
	}
	if err := f.DeleteVolume(ctx, backend.Key{Ref: "r3"}); err != nil {
		t.Fatal(err)
	}
	f.Settle()
	if _, err := f.Volume(ctx, backend.Key{Ref: "r3"}); !errors.Is(err, backend.ErrNotFound) {
		t.Fatal(err)
	}
}

func TestFake_OutOfBand(t *testing.T) {
	ctx, f := context.Background(), NewFake(nil)
	f.AddServer("s1", "web")
	v := f.PutVolume(backend.Volume{Name: "theirs", SizeGiB: 3})
	if v.ID == "" || v.Ref != "" || v.Status != backend.Available {
		t.Fatalf("%+v", v)
	}
	f.AttachOutOfBand(v.ID, "s1")
	got, err := f.Volume(ctx, backend.Key{ID: v.ID})
	if err != nil || got.Status != backend.InUse || got.Attachments[0].ServerName != "web" {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := f.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: "s", Volume: v.Key}); backend.AsError(err, backend.CodeConflict) == nil {
		t.Fatal("a snapshot that knows nothing of the attachment:", err)
	}
	f.DetachOutOfBand(v.ID, "s1")
	s := f.PutSnapshot(backend.Snapshot{Name: "theirs too", Volume: v.Key, SizeGiB: 3})
	f.RemoveVolume(v.ID)
	f.RemoveSnapshot(s.ID)
	if p, err := f.Volumes(ctx, "", 10); err != nil || len(p.Items) != 0 {
		t.Fatalf("%+v %v", p, err)
	}
	if _, err := f.Snapshot(ctx, s.Key); !errors.Is(err, backend.ErrNotFound) {
		t.Fatal(err)
	}
}

func TestFake_QuotaForbiddenDown(t *testing.T) {
	ctx, f := context.Background(), NewFake(nil)
	f.SetQuota("gigabytes", 5)
	f.CreateVolume(ctx, backend.VolumeSpec{Ref: "r1", SizeGiB: 3})
	_, err := f.CreateVolume(ctx, backend.VolumeSpec{Ref: "r2", SizeGiB: 3})
	if want := (&backend.Error{Code: backend.CodeQuota, What: "gigabytes", Used: 3, Limit: 5, Asked: 3}); !reflect.DeepEqual(err, error(want)) {
		t.Fatal(err)
	}
	f.ForbidRepair("admin")
	var forbidden *backend.Error
	if err := f.RepairVolume(ctx, backend.Key{Ref: "r1"}, backend.ErrorStatus); !errors.As(err, &forbidden) || forbidden.Code != backend.CodeForbidden || forbidden.Role != "admin" {
		t.Fatal(err)
	}
	f.SetDown(errors.New("no route"))
	if _, err := f.Volume(ctx, backend.Key{Ref: "r1"}); backend.AsError(err, backend.CodeUnavailable) == nil {
		t.Fatal(err)
	}
}

func TestFaulty_Inject(t *testing.T) {
	ctx, fake := context.Background(), NewFake(nil)
	f := NewFaulty(fake)
	boom := errors.New("boom")
	create := func(ref string) error {
		_, err := f.CreateVolume(ctx, backend.VolumeSpec{Ref: ref, SizeGiB: 1})
		return err
	}
	f.Inject("CreateVolume", 2, Fault{Err: boom})
	f.Inject("CreateVolume", 3, Fault{After: true})
	if err := create("r1"); err != nil {
		t.Fatal(err)
	}
	if err := create("r2"); err != boom || fake.Calls("CreateVolume") != 1 {
		t.Fatal("before its effect:", err)
	}
	if err := create("r3"); backend.AsError(err, backend.CodeUnavailable) == nil || fake.Calls("CreateVolume") != 2 {
		t.Fatal("after its effect:", err)
	}
	if err := create("r2"); err != nil {
		t.Fatal("a fault strikes once:", err)
	}
	f.Down(boom)
	if err := create("r4"); backend.AsError(err, backend.CodeUnavailable) == nil {
		t.Fatal(err)
	}
	f.Down(nil)
	if err := create("r4"); err != nil || f.Calls("CreateVolume") != 6 {
		t.Fatal(err, f.Calls("CreateVolume"))
	}
}

func TestFaulty_Hang(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := NewFaulty(NewFake(nil))
	entered := make(chan struct{})
	f.Inject("DeleteVolume", 1, Fault{Hang: true, Entered: entered})
	answer := make(chan error)
	go func() { answer <- f.DeleteVolume(ctx, backend.Key{Ref: "r"}) }()
	<-entered
	select {
	case err := <-answer:
		t.Fatal("answered while the context lives:", err)
	default:
	}
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}
