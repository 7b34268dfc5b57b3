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
	failing   map[models.SubjectType]string // why the backend cannot be read; empty: it can
}

// listener is one open stream.
type listener struct {
	kind     models.SubjectType
	project  string
	language string
	user     string // whose failures it tells
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
		store: store, rows: rows, site: site, log: log, listeners: map[*listener]struct{}{}, fresh: map[models.SubjectType]int64{}, failing: map[models.SubjectType]string{}}
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

// tellAge tells open lists when the backend was read last; when it can no longer be
// read, or can be again, they are read again with what they say about that.
func (l *Live) tellAge(ctx context.Context) {
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		m, err := l.store.SyncState(ctx, kind)
		before, known := l.failing[kind]
		if err != nil || known && m.SeenAt == l.fresh[kind] && m.Failure.Key == before {
			continue
		}
		l.fresh[kind], l.failing[kind] = m.SeenAt, m.Failure.Key
		event := sse("fresh", strconv.FormatInt(m.SeenAt, 10), 0)
		if known && m.Failure.Key != before {
			event = append(event, sse("list", "{}", 0)...)
		}
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
	failed  []models.Operation // of the batch
	asked   bool               // failed is known
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
	event, ok := n.made[key]
	if !ok {
		var err error
		if event, err = n.render(ctx, key); err != nil {
			return nil, err
		}
		n.made[key] = event
	}
	told, err := n.told(ctx, s)
	return slices.Concat(event, told), err
}

// told are the failures of what the stream's user has asked for.
func (n *news) told(ctx context.Context, s *listener) ([]byte, error) {
	if err := n.findFailed(ctx); err != nil || len(n.failed) == 0 {
		return nil, err
	}
	var b strings.Builder
	rowCtx := rowContext(i18n.WithLang(ctx, s.language), n.live.site)
	for i := range n.failed {
		op := &n.failed[i]
		if op.AskedBy != s.user || !n.live.store.InScope(s.project, op.ProjectID) {
			continue
		}
		if err := views.Told(failureAlert(op)).Render(rowCtx, &b); err != nil {
			return nil, err
		}
	}
	return sse("told", b.String(), n.last), nil
}

// findFailed loads the operations of the batch that have failed, once.
func (n *news) findFailed(ctx context.Context) error {
	if n.asked {
		return nil
	}
	var ids []string
	for _, c := range n.changes {
		if c.Kind == models.SubjectOperation && !c.Deleted && !slices.Contains(ids, c.ID) {
			ids = append(ids, c.ID)
		}
	}
	if len(ids) == 0 {
		n.asked = true
		return nil
	}
	var err error
	n.failed, err = n.live.store.FailedOperations(ctx, ids)
	n.asked = err == nil
	return err
}

// failureAlert says that an operation has failed, and why.
func failureAlert(op *models.Operation) views.Alert {
	return views.Alert{Message: views.Message{Key: "failed.told", Args: [4]string{string(op.Kind), views.Label(op.SubjectID, op.SubjectName)}},
		Detail: Msg(op.LastError.Text), Sticky: true, RequestID: op.RequestID,
		Link: activityPath + "/" + op.ID, LinkText: views.Message{Key: "failed.link"}}
}

func (n *news) render(ctx context.Context, to listenerKind) ([]byte, error) {
	var ids, objects []string
	seen := map[string]bool{}
	moved, operations := false, false
	for _, c := range n.changes {
		switch {
		case !n.live.store.InScope(to.project, c.ProjectID):
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
	if operations && n.live.site.Operations != nil {
		b.Write(sse("activity", strconv.Itoa(n.live.site.Operations.Running(ctx, to.project)), n.last))
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
	rules, all := l.store.Rules(), ownersOf(l.store)
	var rendered []views.RenderedRow
	if to.kind == models.SubjectSnapshot {
		rows, err := l.store.SnapshotsByID(ctx, ids)
		for i := range rows {
			if !l.store.InScope(to.project, rows[i].ProjectID) || err != nil {
				continue
			}
			var row views.RenderedRow
			row, err = l.rows.snapshot(ctx, snapshotRow(&rows[i], rules, all))
			rendered = append(rendered, row)
		}
		return rendered, err
	}
	rows, err := l.store.VolumesByID(ctx, ids)
	for i := range rows {
		if !l.store.InScope(to.project, rows[i].ProjectID) || err != nil {
			continue
		}
		var row views.RenderedRow
		row, err = l.rows.volume(ctx, volumeRow(&rows[i], rules, all))
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
