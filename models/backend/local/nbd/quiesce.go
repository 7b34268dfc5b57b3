package nbd

import (
	"context"
	"errors"
	"sync"
)

// ErrQuiesceExpired says that writes went on before resume was called.
var ErrQuiesceExpired = errors.New("nbd: writes resumed before the end of the quiesce")

// writeGate lets many writes pass at a time, and none while it is closed.
type writeGate struct {
	mu       sync.Mutex
	inFlight int           // writes that have entered and not left
	resumed  chan struct{} // non-nil while the gate is closed; closed when it opens
	drained  chan struct{} // non-nil while a quiesce waits; closed by the last write that leaves
}

// tryEnter is enter for a caller that must not wait. false: the gate is closed.
func (g *writeGate) tryEnter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.resumed != nil {
		return false
	}
	g.inFlight++
	return true
}

// enter waits until the gate is open. The error is that of ctx; without one, leave
// must follow.
func (g *writeGate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		resumed := g.resumed
		if resumed == nil {
			g.inFlight++
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		select {
		case <-resumed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *writeGate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inFlight--
	if g.inFlight == 0 && g.drained != nil {
		close(g.drained)
		g.drained = nil
	}
}

// quiesce closes the gate and waits for the writes in flight. The gate opens when
// resume is called or ctx ends; after the latter resume returns ErrQuiesceExpired.
// The error is that of ctx.
func (g *writeGate) quiesce(ctx context.Context) (resume func() error, err error) {
	resumed, drained, err := g.close(ctx)
	if err != nil {
		return nil, err
	}
	open := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.resumed != resumed {
			return false
		}
		close(resumed)
		g.resumed, g.drained = nil, nil
		return true
	}
	select {
	case <-drained:
	case <-ctx.Done():
		open()
		return nil, ctx.Err()
	}
	stop := context.AfterFunc(ctx, func() { open() })
	return func() error {
		stop()
		if !open() {
			return ErrQuiesceExpired
		}
		return nil
	}, nil
}

// close closes the gate as soon as no other quiesce holds it. The error is that of
// ctx.
func (g *writeGate) close(ctx context.Context) (resumed, drained chan struct{}, err error) {
	for {
		g.mu.Lock()
		if g.resumed == nil {
			break
		}
		other := g.resumed
		g.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	defer g.mu.Unlock()
	resumed, drained = make(chan struct{}), make(chan struct{})
	g.resumed = resumed
	if g.inFlight == 0 {
		close(drained)
	} else {
		g.drained = drained
	}
	return resumed, drained, nil
}
