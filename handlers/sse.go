package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views/i18n"
)

const eventDeadline = 10 * time.Second // for one event to leave

// VolumeEvents and SnapshotEvents are the live streams of the two lists.
func (l *Live) VolumeEvents(c echo.Context) error { return l.stream(c, models.SubjectVolume) }

// SnapshotEvents: see VolumeEvents.
func (l *Live) SnapshotEvents(c echo.Context) error { return l.stream(c, models.SubjectSnapshot) }

// stream sends what happens after the change that the page has seen, first what
// was missed, then as it comes.
func (l *Live) stream(c echo.Context, kind models.SubjectType) error {
	ctx := c.Request().Context()
	s := &listener{kind: kind, project: Actor(c).Project, language: i18n.Lang(ctx), user: Actor(c).Name, events: make(chan []byte, listenerQueue)}
	now, ok := l.listen(s)
	if !ok {
		return c.NoContent(http.StatusServiceUnavailable)
	}
	defer l.leave(s)
	w, err := newEventWriter(c)
	if err != nil {
		return err
	}
	missed, err := l.missed(ctx, s, seenBy(c), now)
	if err != nil {
		return err
	}
	if err := w.write(append([]byte("retry: 1000\n\n"), missed...)); err != nil {
		return nil //nolint:nilerr // the browser is gone
	}
	ping := time.NewTicker(l.PingEvery)
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
			event = []byte(": \n\n")
		}
		if s.lost.Swap(false) {
			event = append(event, sse("list", "{}", 0)...)
		}
		if err := w.write(event); err != nil {
			return nil //nolint:nilerr // the browser is gone
		}
	}
}

// seenBy is the last change that the page knows: from the reconnecting browser, from
// a window that takes the stream over, or from the page's own URL.
func seenBy(c echo.Context) int64 {
	for _, text := range []string{c.Request().Header.Get("Last-Event-ID"), c.QueryParam("since"), c.QueryParam("after")} {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

// missedLimit is how many changes are told one by one; after more the page reads
// its list again.
const missedLimit = 200

// missed is what happened between the change that the page has seen and the one
// that the stream begins after.
func (l *Live) missed(ctx context.Context, s *listener, seen, now int64) ([]byte, error) {
	if seen < 0 || seen == now {
		return nil, nil
	}
	first, err := l.store.FirstChange(ctx)
	if err != nil {
		return nil, err
	}
	if seen > now {
		// The page was read after what has been handed out, or from a database that is another one since.
		last, err := l.store.LastChange(ctx)
		if err != nil || seen <= last {
			return nil, err
		}
		return sse("list", "{}", now), nil
	}
	changes, err := l.store.ChangesAfter(ctx, seen, missedLimit+1)
	if err != nil {
		return nil, err
	}
	if len(changes) > missedLimit || seen+1 < first {
		return sse("list", "{}", now), nil
	}
	for len(changes) > 0 && changes[len(changes)-1].Seq > now {
		changes = changes[:len(changes)-1] // these come through the stream
	}
	if len(changes) == 0 {
		return nil, nil
	}
	return newNews(l, changes).event(ctx, s)
}

// eventWriter writes events, each with a deadline of its own.
type eventWriter struct {
	response *echo.Response
	control  *http.ResponseController
}

func newEventWriter(c echo.Context) (*eventWriter, error) {
	w := &eventWriter{response: c.Response(), control: http.NewResponseController(c.Response())}
	// The server's limits are for pages; a stream reads nothing more.
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
