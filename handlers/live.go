package handlers

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/a-h/templ"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// LiveStore is what live pages are fed from.
type LiveStore interface {
	Subscribe() (<-chan struct{}, func())
	Rules() models.Rules
	LastChange(ctx context.Context) (int64, error)
	FirstChange(ctx context.Context) (int64, error)
	ChangesAfter(ctx context.Context, seq int64, limit int) ([]models.Change, error)
	SnapshotsByID(ctx context.Context, ids []string) ([]models.Snapshot, error)
	VolumesByID(ctx context.Context, ids []string) ([]models.Volume, error)
	Mirror(ctx context.Context, kind models.SubjectType) (models.MirrorState, error)
	Session(ctx context.Context, token string) (*models.SignedIn, error)
}

const (
	changesAtOnce = 500
	tailEvery     = time.Second // changes of other processes on the same database are not signalled
	listenerQueue = 64
)

// Live reads the changes once for all open pages, renders each changed row once
// per language, and hands it to whoever looks at that list.
type Live struct {
	// FreshEvery is how often the age of the data is looked up, PingEvery how often a
	// stream looks whether its browser and its session are still there. To be set
	// before Run.
	FreshEvery, PingEvery time.Duration

	store LiveStore
	rows  *RowCache
	site  *Site
	log   *slog.Logger

	mu        sync.Mutex
	seen      int64 // the last change handed out
	listeners map[*listener]struct{}
	closed    bool
	fresh     map[models.SubjectType]int64
}

// listener is one open stream.
type listener struct {
	kind     models.SubjectType
	project  string
	language string
	events   chan []byte
	lost     atomic.Bool // events were dropped because the browser was too slow
}

// NewLive makes the hub of the live pages; Run feeds it.
func NewLive(store LiveStore, rows *RowCache, site *Site) *Live {
	log := site.Log
	if log == nil {
		log = slog.Default()
	}
	return &Live{FreshEvery: 5 * time.Second, PingEvery: 20 * time.Second,
		store: store, rows: rows, site: site, log: log, listeners: map[*listener]struct{}{}, fresh: map[models.SubjectType]int64{}}
}

// Run hands out changes until ctx ends; then all streams end.
func (l *Live) Run(ctx context.Context) {
	defer l.close()
	changed, unsubscribe := l.store.Subscribe()
	defer unsubscribe()
	if last, err := l.store.LastChange(ctx); err == nil {
		l.begin(last)
	}
	tail, fresh := time.NewTicker(tailEvery), time.NewTicker(l.FreshEvery)
	defer tail.Stop()
	defer fresh.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tail.C:
		case <-fresh.C:
			l.tellAge(ctx)
		}
		if err := l.handOut(ctx); err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "cannot read the changes", "error", err)
		}
	}
}

// begin hands out what comes after a change. Streams that were opened before do
// not know what they have missed.
func (l *Live) begin(after int64) {
	l.mu.Lock()
	l.seen = after
	early := slices.Collect(maps.Keys(l.listeners))
	l.mu.Unlock()
	for _, s := range early {
		l.send(s, sse("list", "{}", after))
	}
}

func (l *Live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for s := range l.listeners {
		close(s.events)
		delete(l.listeners, s)
	}
}

// listen registers a stream and returns the change it begins after; false: the
// console is being shut down.
func (l *Live) listen(s *listener) (int64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, false
	}
	l.listeners[s] = struct{}{}
	return l.seen, true
}

func (l *Live) leave(s *listener) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.listeners, s)
}

// handOut reads the new changes and gives every stream its part of them.
func (l *Live) handOut(ctx context.Context) error {
	for {
		l.mu.Lock()
		after := l.seen
		l.mu.Unlock()
		changes, err := l.store.ChangesAfter(ctx, after, changesAtOnce)
		if err != nil || len(changes) == 0 {
			return err
		}
		news := newNews(l, changes)
		l.mu.Lock()
		l.seen = changes[len(changes)-1].Seq
		audience := make([]*listener, 0, len(l.listeners))
		for s := range l.listeners {
			audience = append(audience, s)
		}
		l.mu.Unlock()
		for _, s := range audience {
			event, err := news.event(ctx, s)
			if err != nil {
				return err
			}
			l.send(s, event)
		}
	}
}

// send queues an event; a stream that does not keep up is told to read its list
// again instead.
func (l *Live) send(s *listener, event []byte) {
	if len(event) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.listeners[s]; !open {
		return
	}
	select {
	case s.events <- event:
	default:
		s.lost.Store(true)
	}
}

// tellAge tells open lists when the backend was read last.
func (l *Live) tellAge(ctx context.Context) {
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		m, err := l.store.Mirror(ctx, kind)
		if err != nil || m.SeenAt == l.fresh[kind] {
			continue
		}
		l.fresh[kind] = m.SeenAt
		event := sse("fresh", strconv.FormatInt(m.SeenAt, 10), 0)
		l.mu.Lock()
		var audience []*listener
		for s := range l.listeners {
			if s.kind == kind {
				audience = append(audience, s)
			}
		}
		l.mu.Unlock()
		for _, s := range audience {
			l.send(s, event)
		}
	}
}

// news is a batch of changes; what it says to one kind of stream is rendered once.
type news struct {
	live    *Live
	changes []models.Change
	last    int64
	made    map[listenerKind][]byte
}

type listenerKind struct {
	kind              models.SubjectType
	project, language string
}

func newNews(l *Live, changes []models.Change) *news {
	return &news{live: l, changes: changes, last: changes[len(changes)-1].Seq, made: map[listenerKind][]byte{}}
}

// event is what the batch says to a stream; empty when it says nothing.
func (n *news) event(ctx context.Context, s *listener) ([]byte, error) {
	key := listenerKind{s.kind, s.project, s.language}
	if event, ok := n.made[key]; ok {
		return event, nil
	}
	event, err := n.render(ctx, key)
	n.made[key] = event
	return event, err
}

func (n *news) render(ctx context.Context, to listenerKind) ([]byte, error) {
	var ids, objects []string
	seen := map[string]bool{}
	moved, operations := false, false
	for _, c := range n.changes {
		switch {
		case c.ProjectID != to.project:
		case c.Kind == models.SubjectOperation:
			operations = true
		case c.Kind == models.SubjectConnection && to.kind == models.SubjectVolume && !slices.Contains(objects, c.ID):
			objects = append(objects, c.ID)
		case c.Kind != to.kind:
		case c.Inserted || c.Deleted:
			moved = true
		case !seen[c.ID]:
			seen[c.ID] = true
			ids = append(ids, c.ID)
		}
	}
	var b bytes.Buffer
	if len(ids) > 0 {
		rows, err := n.live.renderRows(i18n.WithLang(ctx, to.language), to, ids)
		if err != nil {
			return nil, err
		}
		b.Write(sse("", rows, n.last))
	}
	b.Write(sse("object", strings.Join(objects, " "), n.last)) // of interest to the pages of these alone
	if moved {
		b.Write(sse("list", "{}", n.last))
	}
	if operations && n.live.site.Running != nil {
		b.Write(sse("activity", strconv.Itoa(n.live.site.Running(ctx, to.project)), n.last))
	}
	return b.Bytes(), nil
}

// renderRows renders the rows that still exist as partials of the page.
func (l *Live) renderRows(ctx context.Context, to listenerKind, ids []string) (string, error) {
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

func (l *Live) loadRows(ctx context.Context, to listenerKind, ids []string) ([]views.RenderedRow, error) {
	rules := l.store.Rules()
	var rendered []views.RenderedRow
	if to.kind == models.SubjectSnapshot {
		rows, err := l.store.SnapshotsByID(ctx, ids)
		for i := range rows {
			if rows[i].ProjectID != to.project || err != nil {
				continue
			}
			var row views.RenderedRow
			row, err = l.rows.snapshot(ctx, snapshotRow(&rows[i], rules))
			rendered = append(rendered, row)
		}
		return rendered, err
	}
	rows, err := l.store.VolumesByID(ctx, ids)
	for i := range rows {
		if rows[i].ProjectID != to.project || err != nil {
			continue
		}
		var row views.RenderedRow
		row, err = l.rows.volume(ctx, volumeRow(&rows[i], rules))
		rendered = append(rendered, row)
	}
	return rendered, err
}

// sse is one event of the stream (HTML Living Standard, «Server-sent events»);
// nothing for empty data.
func sse(name, data string, id int64) []byte {
	if data == "" {
		return nil
	}
	var b bytes.Buffer
	if id > 0 {
		fmt.Fprintf(&b, "id: %d\n", id)
	}
	if name != "" {
		fmt.Fprintf(&b, "event: %s\n", name)
	}
	data = strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
	for line := range strings.SplitSeq(data, "\n") {
		fmt.Fprintf(&b, "data: %s\n", line)
	}
	b.WriteByte('\n')
	return b.Bytes()
}
