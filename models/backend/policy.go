package backend

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Policy makes an [Interceptor] that limits the time of every call, retries reads,
// logs and measures. The zero Policy is ready to use.
type Policy struct {
	Log *slog.Logger // nil: slog.Default()
	// Observe gets every finished call, for metrics: its method, its time with retries, and the [ErrorCode] of its
	// error. May be nil.
	Observe func(method string, took time.Duration, code string)
	// Read, Write and List limit one attempt of a call; defaults 15 s, 45 s and 60 s. A write that timed out may have
	// taken effect.
	Read, Write, List time.Duration
	Now               func() time.Time                                 // nil: the wall clock
	Wait              func(ctx context.Context, d time.Duration) error // between attempts; nil: sleep
}

const (
	maxAttempts   = 3                      // of a read
	firstBackoff  = 200 * time.Millisecond // doubles with every attempt
	maxRetryAfter = 2 * time.Second        // a backend that asks for a longer wait is not retried here
	slowCall      = 10 * time.Second       // longer calls are logged as warnings
)

// class is how a method is treated: the limit of one attempt, and whether it only
// reads and may be retried.
type class struct {
	limit time.Duration
	reads bool
}

func (p Policy) class(method string) class {
	switch method {
	case "Volumes", "Snapshots", "Servers", "ChangedVolumes", "Capabilities": // several requests, or long answers
		return class{cmp.Or(p.List, 60*time.Second), true}
	case "Volume", "Snapshot", "Images", "LastFailure", "Connections", "Export", "Damaged":
		return class{cmp.Or(p.Read, 15*time.Second), true}
	}
	return class{cmp.Or(p.Write, 45*time.Second), false}
}

// Interceptor is for [Intercept]. A call that times out answers CodeUnavailable.
// Reads that answer CodeUnavailable before that are tried up to three times, but
// not where a retry cannot help or the backend asks for a long wait.
func (p Policy) Interceptor() Interceptor {
	if p.Log == nil {
		p.Log = slog.Default()
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	if p.Wait == nil {
		p.Wait = sleep
	}
	return func(ctx context.Context, method string, call func(context.Context) error) error {
		began := p.Now()
		attempts, err := p.retry(ctx, method, call)
		took := p.Now().Sub(began)
		if p.Observe != nil {
			p.Observe(method, took, ErrorCode(err))
		}
		p.log(ctx, method, took, attempts, err)
		return err
	}
}

func (p Policy) retry(ctx context.Context, method string, call func(context.Context) error) (attempts int, err error) {
	c := p.class(method)
	for backoff := firstBackoff; ; backoff *= 2 {
		attempts++
		var timedOut bool
		timedOut, err = limited(ctx, c.limit, call)
		e := AsError(err, CodeUnavailable)
		if !c.reads || timedOut || attempts == maxAttempts || e == nil || !e.temporary() || e.RetryAfter > maxRetryAfter {
			return attempts, err
		}
		if p.Wait(ctx, max(backoff+rand.N(backoff), e.RetryAfter)) != nil {
			return attempts, err
		}
	}
}

// limited makes one call within limit.
func limited(ctx context.Context, limit time.Duration, call func(context.Context) error) (timedOut bool, err error) {
	bound, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = call(bound)
	if err == nil || ctx.Err() != nil || bound.Err() == nil {
		return false, err
	}
	if AsError(err, CodeUnavailable) == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		err = &Error{Code: CodeUnavailable, Err: err}
	}
	return true, err
}

// sleep ends early, with an error, when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (p Policy) log(ctx context.Context, method string, took time.Duration, attempts int, err error) {
	level, code := slog.LevelDebug, ErrorCode(err)
	if AsError(err, CodeUnavailable) != nil || code == "other" || took > slowCall {
		level = slog.LevelWarn
	}
	if ctx.Err() != nil { // the caller gave up
		level = slog.LevelDebug
	}
	if !p.Log.Enabled(ctx, level) {
		return
	}
	fields := []any{"call", method, "took", took, "kind", code}
	if attempts > 1 {
		fields = append(fields, "tries", attempts)
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	p.Log.Log(ctx, level, "storage", fields...)
}
