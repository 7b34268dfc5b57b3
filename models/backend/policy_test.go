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

// policied is a Faulty behind a Policy that never really waits.
type policied struct {
	backend.Backend
	faulty *backendtest.Faulty
	waits  []time.Duration
	calls  []string
	log    bytes.Buffer
}

func newPolicied(change func(*backend.Policy)) *policied {
	p := &policied{faulty: backendtest.NewFaulty(backendtest.NewFake(nil))}
	policy := backend.Policy{
		Log:     slog.New(slog.NewTextHandler(&p.log, nil)),
		Observe: func(method string, _ time.Duration, code string) { p.calls = append(p.calls, method+":"+code) },
		Wait:    func(_ context.Context, d time.Duration) error { p.waits = append(p.waits, d); return nil },
	}
	if change != nil {
		change(&policy)
	}
	p.Backend = backend.Intercept(p.faulty, policy.Interceptor())
	return p
}

func TestPolicy_RetriesReadsOnly(t *testing.T) {
	down := func(f *backendtest.Faulty, method string, n int) {
		for i := range n {
			f.Inject(method, i+1, backendtest.Fault{})
		}
	}
	p := newPolicied(nil)
	down(p.faulty, "Volumes", 2)
	if _, err := p.Volumes(t.Context(), "", 10); err != nil || p.faulty.Calls("Volumes") != 3 || len(p.waits) != 2 || p.waits[1] <= p.waits[0]/2 {
		t.Errorf("%v, %d calls, waits %v", err, p.faulty.Calls("Volumes"), p.waits)
	}
	down(p.faulty, "Volumes", 3)
	if _, err := p.Volumes(t.Context(), "", 10); backend.AsError(err, backend.CodeUnavailable) == nil || p.faulty.Calls("Volumes") != 6 {
		t.Errorf("%v, %d calls", err, p.faulty.Calls("Volumes"))
	}
	down(p.faulty, "DeleteVolume", 1)
	if err := p.DeleteVolume(t.Context(), backend.Key{Ref: "missing"}); backend.AsError(err, backend.CodeUnavailable) == nil || p.faulty.Calls("DeleteVolume") != 1 {
		t.Errorf("a write was repeated: %v, %d calls", err, p.faulty.Calls("DeleteVolume"))
	}
	if got := fmt.Sprint(p.calls); got != "[Volumes: Volumes:unavailable DeleteVolume:unavailable]" {
		t.Error(got)
	}
	if log := p.log.String(); strings.Count(log, "level=WARN") != 2 || !strings.Contains(log, "tries=3") {
		t.Error(log)
	}
}

func TestPolicy_NoRetry(t *testing.T) {
	for name, fault := range map[string]error{
		"asked to stay away":  &backend.Error{Code: backend.CodeUnavailable, RetryAfter: time.Minute},
		"refused credentials": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials},
		"too many requests":   &backend.Error{Code: backend.CodeUnavailable, Cause: backend.TooMany},
		"a false certificate": &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Certificate},
		"not there":           backend.ErrNotFound,
	} {
		p := newPolicied(nil)
		p.faulty.Inject("Volume", 1, backendtest.Fault{Err: fault})
		if _, err := p.Volume(t.Context(), backend.Key{Ref: "missing"}); !errors.Is(err, fault) || p.faulty.Calls("Volume") != 1 {
			t.Errorf("%s: %v after %d calls", name, err, p.faulty.Calls("Volume"))
		}
	}
}

func TestPolicy_Timeout(t *testing.T) {
	p := newPolicied(func(policy *backend.Policy) { policy.Read, policy.Write = time.Millisecond, time.Millisecond })
	p.faulty.Inject("Volume", 1, backendtest.Fault{Hang: true})
	if _, err := p.Volume(t.Context(), backend.Key{Ref: "x"}); backend.AsError(err, backend.CodeUnavailable) == nil || p.faulty.Calls("Volume") != 1 {
		t.Errorf("%v after %d calls", err, p.faulty.Calls("Volume"))
	}
	p.faulty.Inject("CreateVolume", 1, backendtest.Fault{Hang: true, After: true})
	if _, err := p.CreateVolume(t.Context(), backend.VolumeSpec{Ref: "r", SizeGiB: 1}); backend.AsError(err, backend.CodeUnavailable) == nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Volume(ctx, backend.Key{Ref: "x"}); !errors.Is(err, context.Canceled) || backend.AsError(err, backend.CodeUnavailable) != nil {
		t.Errorf("the caller gave up: %v", err)
	}
}
