package handlers

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"time"

	"blockconsole/models"
)

// LiveStore is what Live needs.
type LiveStore interface {
	Subscribe() (<-chan struct{}, func())
	Rules() models.Rules
	Capabilities() models.Capabilities
	AllProjects() bool
	InScope(project, owner string) bool
	LastChange(ctx context.Context) (int64, error)
	FirstChange(ctx context.Context) (int64, error)
	ChangesAfter(ctx context.Context, seq int64, limit int) ([]models.Change, error)
	SnapshotsByID(ctx context.Context, ids []string) ([]models.Snapshot, error)
	VolumesByID(ctx context.Context, ids []string) ([]models.Volume, error)
	FailedOperations(ctx context.Context, ids []string) ([]models.Operation, error)
	SyncState(ctx context.Context, kind models.SubjectType) (models.SyncState, error)
	Session(ctx context.Context, token string) (*models.SignedIn, error)
}

const (
	maxBatch     = 500         // changes that are read at once
	pollInterval = time.Second // changes of other processes on the same database are not signalled
)

// Live keeps open pages up to date. It reads the changes once for all of them,
// renders each changed row once per language, and publishes the events.
type Live struct {
	// FreshInterval is how often the age of the data is read; PingInterval how often a
	// stream checks that its browser and its session are still there. They may be set
	// before Run.
	FreshInterval, PingInterval time.Duration

	store LiveStore
	rows  *RowCache
	site  *Site
	log   *slog.Logger
	hub   hub
	ages  map[models.SubjectType]age // as published last
}

// age is when the backend was read last, and why it can no longer be read.
type age struct {
	seenAt  int64
	failure string // empty: it can
}

// NewLive makes the live pages; Run feeds them.
func NewLive(store LiveStore, rows *RowCache, site *Site) *Live {
	return &Live{FreshInterval: 5 * time.Second, PingInterval: 20 * time.Second,
		store: store, rows: rows, site: site, log: cmp.Or(site.Log, slog.Default()), ages: map[models.SubjectType]age{}}
}

// Run publishes changes until ctx ends; then all streams end.
func (l *Live) Run(ctx context.Context) {
	defer l.hub.close()
	changed, unsubscribe := l.store.Subscribe()
	defer unsubscribe()
	if last, err := l.store.LastChange(ctx); err == nil {
		// Streams that were opened before Run may have missed changes.
		for _, s := range l.hub.advance(last) {
			l.hub.send(s, sseEvent("list", "{}", last))
		}
	}
	poll, fresh := time.NewTicker(pollInterval), time.NewTicker(l.FreshInterval)
	defer poll.Stop()
	defer fresh.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-poll.C:
		case <-fresh.C:
			l.publishAge(ctx)
		}
		if err := l.publishChanges(ctx); err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "cannot read the changes", "error", err)
		}
	}
}

// publishChanges reads the new changes and sends every stream its part of them.
func (l *Live) publishChanges(ctx context.Context) error {
	for {
		position, _ := l.hub.current()
		changes, err := l.store.ChangesAfter(ctx, position, maxBatch)
		if err != nil || len(changes) == 0 {
			return err
		}
		batch := newBatch(l, changes)
		for _, s := range l.hub.advance(batch.last) {
			event, err := batch.event(ctx, s)
			if err != nil {
				return err
			}
			l.hub.send(s, event)
		}
	}
}

// publishAge tells open lists when the backend was read last. When it can no
// longer be read, or can be again, they also read themselves again.
func (l *Live) publishAge(ctx context.Context) {
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		state, err := l.store.SyncState(ctx, kind)
		now := age{state.SeenAt, state.Failure.Key}
		before, known := l.ages[kind]
		if err != nil || known && now == before {
			continue
		}
		l.ages[kind] = now
		event := sseEvent("fresh", strconv.FormatInt(now.seenAt, 10), 0)
		if known && now.failure != before.failure {
			event = append(event, sseEvent("list", "{}", 0)...)
		}
		_, subscribers := l.hub.current()
		for _, s := range subscribers {
			if s.kind == kind {
				l.hub.send(s, event)
			}
		}
	}
}
