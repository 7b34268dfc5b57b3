package handlers

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
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
	maxBatch     = 500             // changes that are read at once
	pollInterval = time.Second / 2 // changes of other processes on the same database are not signalled
)

// Live keeps open pages up to date. It reads the changes once for all of them,
// renders each changed row once per language, and publishes the events.
type Live struct {
	// FreshInterval is how often the age of the data is read; BeatInterval how often a
	// stream says that it is alive; PingInterval how often it checks that its session is
	// still there. They may be set before Run.
	FreshInterval, BeatInterval, PingInterval time.Duration

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
	return &Live{FreshInterval: 5 * time.Second, BeatInterval: 2 * time.Second, PingInterval: 20 * time.Second,
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
			if s.seen < last {
				l.hub.send(s, sseEvent("list", "{}", last))
			}
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
		for _, c := range changes {
			if c.Kind == models.SubjectSession {
				l.hub.end(c.ID)
			}
		}
		if l.site.Operations != nil {
			l.site.Operations.Forget()
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

// batch is some changes that were read together. Its events are rendered once per
// topic.
type batch struct {
	live     *Live
	changes  []models.Change
	last     int64 // the number of the last change
	rendered map[topic][]byte

	failed       []models.Operation // operations of the batch that have failed
	failedLoaded bool
}

func newBatch(l *Live, changes []models.Change) *batch {
	return &batch{live: l, changes: changes, last: changes[len(changes)-1].Seq, rendered: map[topic][]byte{}}
}

// event is the batch as one subscriber gets it; empty when nothing concerns it. A
// stream that begins amid the batch gets the rest of it.
func (b *batch) event(ctx context.Context, s *subscriber) ([]byte, error) {
	switch {
	case s.seen >= b.last:
		return nil, nil
	case s.seen >= b.changes[0].Seq:
		later := slices.IndexFunc(b.changes, func(c models.Change) bool { return c.Seq > s.seen })
		return newBatch(b.live, b.changes[later:]).event(ctx, s)
	}
	event, ok := b.rendered[s.topic]
	if !ok {
		var err error
		if event, err = b.render(ctx, s.topic); err != nil {
			return nil, err
		}
		b.rendered[s.topic] = event
	}
	failures, err := b.failures(ctx, s)
	return slices.Concat(event, failures), err
}

// failures are the messages to the subscriber's user about their operations that
// have failed.
func (b *batch) failures(ctx context.Context, s *subscriber) ([]byte, error) {
	if err := b.loadFailed(ctx); err != nil || len(b.failed) == 0 {
		return nil, err
	}
	var html strings.Builder
	rowCtx := rowContext(i18n.WithLang(ctx, s.language), b.live.site)
	for i := range b.failed {
		op := &b.failed[i]
		if op.AskedBy != s.user || !b.live.store.InScope(s.project, op.ProjectID) {
			continue
		}
		if err := views.AlertPartial(failureAlert(op)).Render(rowCtx, &html); err != nil {
			return nil, err
		}
	}
	return sseEvent("told", html.String(), b.last), nil
}

// loadFailed loads the failed operations of the batch, once.
func (b *batch) loadFailed(ctx context.Context) error {
	if b.failedLoaded {
		return nil
	}
	var ids []string
	for _, c := range b.changes {
		if c.Kind == models.SubjectOperation && !c.Deleted && !slices.Contains(ids, c.ID) {
			ids = append(ids, c.ID)
		}
	}
	var err error
	if len(ids) > 0 {
		b.failed, err = b.live.store.FailedOperations(ctx, ids)
	}
	b.failedLoaded = err == nil
	return err
}

// failureAlert is the message that an operation has failed.
func failureAlert(op *models.Operation) views.Alert {
	return views.Alert{Message: views.NewMessage("failed.told", string(op.Kind), views.Label(op.SubjectID, op.SubjectName)),
		Detail: Msg(op.LastError.Text), Sticky: true, RequestID: op.RequestID,
		Link: activityPath + "/" + op.ID, LinkText: views.Message{Key: "failed.link"}}
}

// render renders the events of a topic.
func (b *batch) render(ctx context.Context, to topic) ([]byte, error) {
	var ids, objects []string
	seen := map[string]bool{}
	moved, operations := false, false
	for _, c := range b.changes {
		switch {
		case !b.live.store.InScope(to.project, c.ProjectID):
		case c.Kind == models.SubjectOperation:
			operations = true
		case c.Kind == models.SubjectConnection && !slices.Contains(objects, c.ID):
			objects = append(objects, c.ID)
		case c.Kind != to.kind:
		case c.Inserted || c.Deleted:
			moved = true
		case !seen[c.ID]:
			seen[c.ID] = true
			ids = append(ids, c.ID)
		}
	}
	var events bytes.Buffer
	if len(ids) > 0 {
		rows, err := b.live.renderRows(i18n.WithLang(ctx, to.language), to, ids)
		if err != nil {
			return nil, err
		}
		events.Write(sseEvent("", rows, b.last))
	}
	events.Write(sseEvent("object", strings.Join(objects, " "), b.last)) // for the pages of these objects
	if moved {
		events.Write(sseEvent("list", "{}", b.last))
	}
	if operations && b.live.site.Operations != nil {
		events.Write(sseEvent("activity", strconv.Itoa(b.live.site.Operations.Running(ctx, to.project)), b.last))
	}
	return events.Bytes(), nil
}

// renderRows renders those rows that still exist as partials of the page.
func (l *Live) renderRows(ctx context.Context, to topic, ids []string) (string, error) {
	rowCtx := rowContext(ctx, l.site)
	rows, err := l.loadRows(rowCtx, to, ids)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	var partials templ.Component = views.RowsPartial(string(to.kind)+"-", rows)
	var b strings.Builder
	err = partials.Render(rowCtx, &b)
	return b.String(), err
}

func (l *Live) loadRows(ctx context.Context, to topic, ids []string) ([]views.RenderedRow, error) {
	rules, projects := l.store.Rules(), projectNamesOf(l.store)
	if to.kind == models.SubjectSnapshot {
		rows, err := l.store.SnapshotsByID(ctx, ids)
		if err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(s models.Snapshot) bool { return !l.store.InScope(to.project, s.ProjectID) })
		return renderRows(ctx, rows, rules, projects, l.rows.snapshot)
	}
	rows, err := l.store.VolumesByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(v models.Volume) bool { return !l.store.InScope(to.project, v.ProjectID) })
	return renderRows(ctx, rows, rules, projects, l.rows.volume)
}
