package handlers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views/i18n"
)

const eventDeadline = 10 * time.Second // for one event to leave

// VolumeEvents is the live stream of the Volume list.
func (l *Live) VolumeEvents(c echo.Context) error { return l.stream(c, models.SubjectVolume) }

// SnapshotEvents is the live stream of the Block Snapshot list.
func (l *Live) SnapshotEvents(c echo.Context) error { return l.stream(c, models.SubjectSnapshot) }

// stream sends what the page has missed, then events as they come, until the
// browser leaves, the session ends or the hub closes.
func (l *Live) stream(c echo.Context, kind models.SubjectType) error {
	ctx := c.Request().Context()
	s, replaced, err := l.subscriberOf(c, kind)
	if err != nil {
		return err
	}
	position, ok := l.hub.subscribe(s)
	if !ok {
		return c.NoContent(http.StatusServiceUnavailable)
	}
	defer l.hub.unsubscribe(s)
	if _, err := l.store.Session(ctx, RequestOf(c).Token); err != nil { // it may have ended before the hub knew the stream
		return err
	}
	w, err := newEventWriter(c)
	if err != nil {
		return err
	}
	missed, err := l.replay(ctx, s, position)
	if err != nil {
		return err
	}
	if replaced {
		missed = sseEvent("list", "{}", s.seen)
	}
	if err := w.write(append(l.beginEvent(ctx, s), missed...)); err != nil {
		return nil //nolint:nilerr // the browser is gone
	}
	beat, ping := time.NewTicker(l.BeatInterval), time.NewTicker(l.PingInterval)
	defer beat.Stop()
	defer ping.Stop()
	for {
		var event []byte
		select {
		case <-ctx.Done():
			return nil
		case event, ok = <-s.events:
			if !ok {
				return nil
			}
		case <-ping.C:
			if _, err := l.store.Session(ctx, RequestOf(c).Token); models.AsError(err) != nil {
				return nil // signed out meanwhile
			}
			continue
		case <-beat.C:
			event = l.beatEvent()
		}
		if s.lost.Swap(false) {
			event = append(event, sseEvent("list", "{}", 0)...)
		}
		if err := w.write(event); err != nil {
			return nil //nolint:nilerr // the browser is gone
		}
	}
}

// subscriberOf is the stream that the request opens. It begins after the change that
// the page has seen, by default after the last one; replaced: the page was read from a
// database that has been replaced since.
func (l *Live) subscriberOf(c echo.Context, kind models.SubjectType) (s *subscriber, replaced bool, err error) {
	ctx, actor := c.Request().Context(), Actor(c)
	last, err := l.store.LastChange(ctx)
	if err != nil {
		return nil, false, err
	}
	seen := lastEventID(c)
	replaced = seen > last
	if seen < 0 || replaced {
		seen = last
	}
	s = newSubscriber(topic{kind, actor.Project, i18n.Lang(ctx)}, actor.Name, seen)
	if in := RequestOf(c).SignedIn; in != nil {
		s.session = in.ID
	}
	return s, replaced, nil
}

// beginEvent is the first of a stream: it tells the page that what is not sent again
// may have been missed, and how many operations are under way.
func (l *Live) beginEvent(ctx context.Context, s *subscriber) []byte {
	running := ""
	if l.site.Operations != nil {
		running = fmt.Sprintf(`,"running":%d`, l.site.Operations.Running(ctx, s.project))
	}
	return sseEvent("begin", fmt.Sprintf(`{"now":%d%s}`, l.site.Now().UnixMicro(), running), 0)
}

// beatEvent is the heartbeat: a page that hears none says so. It carries the server's
// time in Unix microseconds, by which the page tells ages.
func (l *Live) beatEvent() []byte {
	return sseEvent("beat", fmt.Sprintf(`{"now":%d}`, l.site.Now().UnixMicro()), 0)
}

// lastEventID is the last change that the page has: as a reconnecting browser says,
// or a window that takes over a stream, or the page's URL; -1: none.
func lastEventID(c echo.Context) int64 {
	for _, text := range []string{c.Request().Header.Get("Last-Event-ID"), c.QueryParam("since"), c.QueryParam("after")} {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// maxReplay is how many missed changes are sent one by one; after more the page
// reads its list again.
const maxReplay = 200

// replay is what happened after the change that the page has seen, up to position,
// after which events come through the hub.
func (l *Live) replay(ctx context.Context, s *subscriber, position int64) ([]byte, error) {
	if s.seen >= position {
		return nil, nil
	}
	first, err := l.store.FirstChange(ctx)
	if err != nil {
		return nil, err
	}
	changes, err := l.store.ChangesAfter(ctx, s.seen, maxReplay+1)
	if err != nil {
		return nil, err
	}
	if len(changes) > maxReplay || s.seen+1 < first {
		return sseEvent("list", "{}", position), nil
	}
	for len(changes) > 0 && changes[len(changes)-1].Seq > position {
		changes = changes[:len(changes)-1]
	}
	if len(changes) == 0 {
		return nil, nil
	}
	return newBatch(l, changes).event(ctx, s)
}

// sseEvent is an event in the format of the HTML Living Standard, «Server-sent
// events»; nothing for empty data.
func sseEvent(name, data string, id int64) []byte {
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

// eventWriter writes events to the browser, each within eventDeadline.
type eventWriter struct {
	response *echo.Response
	control  *http.ResponseController
}

func newEventWriter(c echo.Context) (*eventWriter, error) {
	w := &eventWriter{response: c.Response(), control: http.NewResponseController(c.Response())}
	// A stream reads nothing more; the server's limit is for pages.
	if err := w.control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set(echo.HeaderCacheControl, "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	c.Response().WriteHeader(http.StatusOK)
	return w, nil
}

func (w *eventWriter) write(event []byte) error {
	err := w.control.SetWriteDeadline(time.Now().Add(eventDeadline))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.response.Write(event); err != nil {
		return err
	}
	return w.control.Flush()
}
