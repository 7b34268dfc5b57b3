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
	var unavailable *backend.UnavailableError
	if _, err := g.Volumes(t.Context(), "", 10); !errors.As(err, &unavailable) || g.faulty.Calls("Volumes") != 6 {
		t.Errorf("%v, %d calls", err, g.faulty.Calls("Volumes"))
	}
	down(g.faulty, "DeleteVolume", 1)
	if err := g.DeleteVolume(t.Context(), backend.Key{Ref: "missing"}); !errors.As(err, &unavailable) || g.faulty.Calls("DeleteVolume") != 1 {
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
		"asked to stay away":  &backend.UnavailableError{RetryAfter: time.Minute},
		"refused credentials": &backend.UnavailableError{Cause: backend.Credentials},
		"too many requests":   &backend.UnavailableError{Cause: backend.TooMany},
		"a false certificate": &backend.UnavailableError{Cause: backend.Certificate},
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
	var unavailable *backend.UnavailableError
	g.faulty.Inject("Volume", 1, backendtest.Fault{Hang: true})
	if _, err := g.Volume(t.Context(), backend.Key{Ref: "x"}); !errors.As(err, &unavailable) || g.faulty.Calls("Volume") != 1 {
		t.Errorf("%v after %d calls", err, g.faulty.Calls("Volume"))
	}
	g.faulty.Inject("CreateVolume", 1, backendtest.Fault{Hang: true, After: true})
	if _, err := g.CreateVolume(t.Context(), backend.VolumeSpec{Ref: "r", SizeGiB: 1}); !errors.As(err, &unavailable) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Volume(ctx, backend.Key{Ref: "x"}); !errors.Is(err, context.Canceled) || errors.As(err, &unavailable) {
		t.Errorf("the caller gave up: %v", err)
	}
}

func TestKindOfEveryError(t *testing.T) {
	for want, err := range map[string]error{
		"": nil, "not_found": backend.ErrNotFound, "unsupported": fmt.Errorf("so: %w", backend.ErrUnsupported),
		"conflict": &backend.ConflictError{}, "busy": &backend.BusyError{}, "quota": &backend.QuotaError{}, "invalid": &backend.InvalidError{},
		"forbidden": &backend.ForbiddenError{}, "no_space": &backend.NoSpaceError{}, "fault": &backend.FaultError{}, "reported": &backend.ReportedError{},
		"unavailable": &backend.UnavailableError{}, "credentials": &backend.UnavailableError{Cause: backend.Credentials},
		"too_many": &backend.UnavailableError{Cause: backend.TooMany}, "clock": &backend.UnavailableError{Cause: backend.Clock},
		"cancelled": context.Canceled, "other": errors.New("strange"),
	} {
		if got := backend.Kind(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
