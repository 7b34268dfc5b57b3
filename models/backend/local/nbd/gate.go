package nbd

import (
	"context"
	"errors"
	"sync"
)

// ErrHoldExpired says that a hold had ended before it was released: writes went
// on meanwhile.
var ErrHoldExpired = errors.New("nbd: the hold on writes had ended before its release")

// gate lets writes pass, many at a time, except while it is held.
type gate struct {
	mu      sync.Mutex
	writing int
	opened  chan struct{} // while held: closed when the gate opens again
	drained chan struct{} // while a hold waits: closed when the last write leaves
}

// tryEnter is enter for who must not wait.
func (g *gate) tryEnter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened != nil {
		return false
	}
	g.writing++
	return true
}

// enter waits until the gate is open. Each enter needs a leave.
func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		opened := g.opened
		if opened == nil {
			g.writing++
			g.mu.Unlock()
			return nil
		}
		g.mu.Unlock()
		select {
		case <-opened:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writing--
	if g.writing == 0 && g.drained != nil {
		close(g.drained)
		g.drained = nil
	}
}

// hold closes the gate, waits for the writes that are inside, and returns the
// function that opens it again. The gate opens by itself when ctx ends.
func (g *gate) hold(ctx context.Context) (func() error, error) {
	opened, drained, err := g.shut(ctx)
	if err != nil {
		return nil, err
	}
	open := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.opened != opened {
			return false
		}
		close(opened)
		g.opened, g.drained = nil, nil
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
			return ErrHoldExpired
		}
		return nil
	}, nil
}

// shut closes the gate as soon as no other hold has it.
func (g *gate) shut(ctx context.Context) (opened, drained chan struct{}, err error) {
	for {
		g.mu.Lock()
		if g.opened == nil {
			break
		}
		other := g.opened
		g.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	defer g.mu.Unlock()
	opened, drained = make(chan struct{}), make(chan struct{})
	g.opened = opened
	if g.writing == 0 {
		close(drained)
	} else {
		g.drained = drained
	}
	return opened, drained, nil
}
