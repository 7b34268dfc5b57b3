package backend

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Guard makes an [Around] that keeps every call of a backend within a time,
// repeats what is safe to repeat, and tells about it. The zero Guard is ready to
// use.
type Guard struct {
	Log *slog.Logger // nil: slog.Default()
	// Called is told of every call once it is over, how long it took with its repetitions, and how it ended, in the
	// words of [ErrorCode]; for metrics. May be nil.
	Called func(name string, took time.Duration, kind string)
	// Read, Write and List bound one try of a call; defaults 15 s, 45 s and 60 s. A write whose time is over may
	// have taken effect.
	Read, Write, List time.Duration
	Now               func() time.Time                                 // nil: the wall clock
	Wait              func(ctx context.Context, d time.Duration) error // between tries; nil: really waits
}

// tries is how often a read is tried at most, and longestWait how long a backend
// may ask to wait before the next try: beyond that the caller should know.
const (
	tries       = 3
	firstWait   = 200 * time.Millisecond
	longestWait = 2 * time.Second
)

// class is what a call needs: calls that read may be repeated.
type class struct {
	limit time.Duration
	reads bool
}

func (g Guard) class(name string) class {
	switch name {
	case "Volumes", "Snapshots", "Servers", "ChangedVolumes", "Capabilities": // several requests, or long answers
		return class{orElse(g.List, 60*time.Second), true}
	case "Volume", "Snapshot", "Images", "Told", "Connections", "Export":
		return class{orElse(g.Read, 15*time.Second), true}
	}
	return class{orElse(g.Write, 45*time.Second), false}
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Around returns what [Wrap] wants. Beyond its time a call answers
// CodeUnavailable. Reads that answer it at once are tried up to
// three times, unless the credentials are refused or the backend wants to be left
// alone for longer.
func (g Guard) Around() Around {
	if g.Log == nil {
		g.Log = slog.Default()
	}
	if g.Now == nil {
		g.Now = time.Now
	}
	if g.Wait == nil {
		g.Wait = wait
	}
	return func(ctx context.Context, name string, call func(context.Context) error) error {
		began := g.Now()
		n, err := g.try(ctx, name, call)
		took := g.Now().Sub(began)
		if g.Called != nil {
			g.Called(name, took, ErrorCode(err))
		}
		g.tell(ctx, name, took, n, err)
		return err
	}
}

func (g Guard) try(ctx context.Context, name string, call func(context.Context) error) (n int, err error) {
	c := g.class(name)
	for pause := firstWait; ; pause *= 2 {
		n++
		var slow bool
		slow, err = bounded(ctx, c.limit, call)
		down := AsError(err, CodeUnavailable)
		if !c.reads || slow || n == tries || down == nil || !down.passing() || down.RetryAfter > longestWait {
			return n, err
		}
		if g.Wait(ctx, max(pause+rand.N(pause), down.RetryAfter)) != nil {
			return n, err
		}
	}
}

// bounded makes one call; slow says that its time was over.
func bounded(ctx context.Context, limit time.Duration, call func(context.Context) error) (slow bool, err error) {
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

// wait returns early, with an error, when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// slowCall is how long a call may take before the log mentions it.
const slowCall = 10 * time.Second

func (g Guard) tell(ctx context.Context, name string, took time.Duration, n int, err error) {
	level := slog.LevelDebug
	kind := ErrorCode(err)
	if AsError(err, CodeUnavailable) != nil || kind == "other" || took > slowCall {
		level = slog.LevelWarn
	}
	if ctx.Err() != nil { // nobody waits for it any more
		level = slog.LevelDebug
	}
	if !g.Log.Enabled(ctx, level) {
		return
	}
	fields := []any{"call", name, "took", took, "kind", kind}
	if n > 1 {
		fields = append(fields, "tries", n)
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	g.Log.Log(ctx, level, "storage", fields...)
}
