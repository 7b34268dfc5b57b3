package backend_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

// guarded is a Faulty behind a Guard that never really waits.
type guarded struct {
	backend.Backend
	faulty *backendtest.Faulty
	waits  []time.Duration
	calls  []string
	log    bytes.Buffer
}

func newGuarded(change func(*backend.Guard)) *guarded {
	g := &guarded{faulty: backendtest.NewFaulty(backendtest.NewFake(nil))}
	guard := backend.Guard{
		Log:    slog.New(slog.NewTextHandler(&g.log, nil)),
		Called: func(name string, _ time.Duration, kind string) { g.calls = append(g.calls, name+":"+kind) },
		Wait:   func(_ context.Context, d time.Duration) error { g.waits = append(g.waits, d); return nil },
	}
	if change != nil {
		change(&guard)
	}
	g.Backend = backend.Wrap(g.faulty, guard.Around())
	return g
}

func TestGuardRepeatsReadsOnly(t *testing.T) {
	down := func(f *backendtest.Faulty, method string, n int) {
		for i := range n {
			f.Inject(method, i+1, backendtest.Fault{})
		}
	}
	g := newGuarded(nil)
	down(g.faulty, "Volumes", 2)
	if _, err := g.Volumes(t.Context(), "", 10); err != nil || g.faulty.Calls("Volumes") != 3 || len(g.waits) != 2 || g.waits[1] <= g.waits[0]/2 {
		t.Errorf("%v, %d calls, waits %v", err, g.faulty.Calls("Volumes"), g.waits)
	}
	down(g.faulty, "Volumes", 3)
	if _, err := g.Volumes(t.Context(), "", 10); backend.AsError(err, backend.CodeUnavailable) == nil || g.faulty.Calls("Volumes") != 6 {
		t.Errorf("%v, %d calls", err, g.faulty.Calls("Volumes"))
	}
	down(g.faulty, "DeleteVolume", 1)
	if err := g.DeleteVolume(t.Context(), backend.Key{Ref: "missing"}); backend.AsError(err, backend.CodeUnavailable) == nil || g.faulty.Calls("DeleteVolume") != 1 {
		t.Errorf("a write was repeated: %v, %d calls", err, g.faulty.Calls("DeleteVolume"))
	}
	if got := fmt.Sprint(g.calls); got != "[Volumes: Volumes:unavailable DeleteVolume:unavailable]" {
		t.Error(got)
	}
	if log := g.log.String(); strings.Count(log, "level=WARN") != 2 || !strings.Contains(log, "tries=3") {
		t.Error(log)
	}
}

func TestGuardDoesNotInsist(t *testing.T) {
	for name, fault := range map[string]error{
		"asked to stay away":  &backend.Error{Code: backend.CodeUnavailable, RetryAfter: time.Minute},
		"refused credentials": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials},
		"too many requests":   &backend.Error{Code: backend.CodeUnavailable, Cause: backend.TooMany},
		"a false certificate": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Certificate},
		"not there":           backend.ErrNotFound,
	} {
		g := newGuarded(nil)
		g.faulty.Inject("Volume", 1, backendtest.Fault{Err: fault})
		if _, err := g.Volume(t.Context(), backend.Key{Ref: "missing"}); !errors.Is(err, fault) || g.faulty.Calls("Volume") != 1 {
			t.Errorf("%s: %v after %d calls", name, err, g.faulty.Calls("Volume"))
		}
	}
}

func TestGuardEndsWhatHangs(t *testing.T) {
	g := newGuarded(func(guard *backend.Guard) { guard.Read, guard.Write = time.Millisecond, time.Millisecond })
	g.faulty.Inject("Volume", 1, backendtest.Fault{Hang: true})
	if _, err := g.Volume(t.Context(), backend.Key{Ref: "x"}); backend.AsError(err, backend.CodeUnavailable) == nil || g.faulty.Calls("Volume") != 1 {
		t.Errorf("%v after %d calls", err, g.faulty.Calls("Volume"))
	}
	g.faulty.Inject("CreateVolume", 1, backendtest.Fault{Hang: true, After: true})
	if _, err := g.CreateVolume(t.Context(), backend.VolumeSpec{Ref: "r", SizeGiB: 1}); backend.AsError(err, backend.CodeUnavailable) == nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Volume(ctx, backend.Key{Ref: "x"}); !errors.Is(err, context.Canceled) || backend.AsError(err, backend.CodeUnavailable) != nil {
		t.Errorf("the caller gave up: %v", err)
	}
}

func TestKindOfEveryError(t *testing.T) {
	for want, err := range map[string]error{
		"": nil, "not_found": backend.ErrNotFound, "unsupported": fmt.Errorf("so: %w", backend.ErrUnsupported),
		"conflict": &backend.Error{Code: backend.CodeConflict}, "busy": &backend.Error{Code: backend.CodeBusy}, "quota": &backend.Error{Code: backend.CodeQuota}, "invalid": &backend.Error{Code: backend.CodeInvalid},
		"forbidden": &backend.Error{Code: backend.CodeForbidden}, "no_space": &backend.Error{Code: backend.CodeNoSpace}, "fault": &backend.Error{Code: backend.CodeFault}, "reported": &backend.Error{Code: backend.CodeReported},
		"unavailable": &backend.Error{Code: backend.CodeUnavailable}, "credentials": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials},
		"too_many": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.TooMany}, "clock": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Clock},
		"cancelled": context.Canceled, "other": errors.New("strange"),
	} {
		if got := backend.ErrorCode(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
