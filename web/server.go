// Package web is the HTTP side of the console: every route on one screen, the
// middleware around them, and the one place where errors become answers.
package web

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/web/admission"
	"blockconsole/web/config"
)

// Limits of one request. Live streams have a deadline per event instead.
const (
	bodyLimit         = 1 << 20          // bytes
	pageTimeout       = 30 * time.Second // for a page, and for a click after its browser has left
	writeTimeout      = 5 * time.Minute  // exports of a million rows take a while
	idleTimeout       = 2 * time.Minute
	drainTimeout      = 10 * time.Second
	readyCheckTimeout = 2 * time.Second
	errorPageTimeout  = 5 * time.Second
)

// Options of New. Store is needed, and Config as config.Load returns it.
type Options struct {
	Config   config.Config
	Store    *store.Store
	Now      func() time.Time     // nil: the wall clock
	Log      *slog.Logger         // nil: slog.Default()
	Registry *prometheus.Registry // of the metrics; nil: one that nobody reads
	// Trouble is what every page says above it, such as a full disk; the zero Text: nothing. writable is false while
	// nothing can be saved. nil: there is never any.
	Trouble func() (text models.Text, writable bool)
	Conns   int // number of connections at once; 0: 1,000
}

// Server is the console's HTTP side.
type Server struct {
	Echo *echo.Echo
	Live *handlers.Live // the live pages; Serve feeds them

	config  config.Config
	store   *store.Store
	site    *handlers.Site
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	access  []accessRule
	trouble func() (text models.Text, writable bool)

	conns      int // number of connections at once
	admissions admissions
	crowdedAt  time.Time  // when the log said so last; the listener guards it
	proxies    addressSet // that were warned of

	formPages map[string]string // paths that forms post to, and their pages where those have another path

	streams    context.Context // done when the live streams have to end
	endStreams context.CancelFunc
}

// New builds the server with all its routes and middleware.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Trouble == nil {
		o.Trouble = func() (models.Text, bool) { return models.Text{}, true }
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	s := &Server{Echo: echo.New(), config: o.Config, store: o.Store, log: o.Log, now: o.Now, trouble: o.Trouble,
		metrics: newMetrics(o.Registry), conns: cmp.Or(o.Config.Connections, o.Conns, defaultConns), formPages: map[string]string{}}
	s.admissions = newAdmissions(&s.config, s.conns)
	s.streams, s.endStreams = context.WithCancel(context.Background())
	s.site = &handlers.Site{
		Store: o.Store, Operations: handlers.NewOpCounter(o.Store.Queue, o.Now, o.Log), Now: o.Now, Log: o.Log,
		TimeZone: o.Config.TimeZone.String(), Secure: o.Config.Secure(), ExportHost: o.Config.ExportHost(), ExportTLS: o.Config.ExportTLS(),
		Trouble:         func() models.Text { text, _ := o.Trouble(); return text },
		SessionsPerUser: o.Config.SessionsPerUser,
	}
	s.Echo.HideBanner, s.Echo.HidePort = true, true
	s.Echo.HTTPErrorHandler = s.handleError
	s.Echo.IPExtractor = clientAddress(o.Config.TrustedProxies)
	s.Echo.Logger.SetOutput(errorWriter{o.Log})
	s.use()
	h := newHandlers(o.Store, s.site)
	s.Live, h.Sessions.ShowTyped = h.Live, s.showTyped
	s.routes(h)
	return s
}

// errorWriter logs what Echo itself writes.
type errorWriter struct{ log *slog.Logger }

func (w errorWriter) Write(b []byte) (int, error) {
	w.log.Warn("echo", "message", string(b))
	return len(b), nil
}

// Serve answers on listener until ctx is done. Then /readyz says no, live streams
// end, and requests under way have drainTimeout to finish.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Echo, TLSConfig: s.config.TLS(), ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn), ConnContext: admission.ConnContext,
		ReadHeaderTimeout: s.config.HeaderTimeout, ReadTimeout: s.config.HeaderTimeout + s.config.BodyTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
	listener = admission.Limit(listener, s.conns, s.now, s.crowded)
	ctx, stopLive := context.WithCancel(ctx)
	var live sync.WaitGroup
	defer live.Wait()
	defer stopLive()
	live.Go(func() { s.Live.Run(ctx) })
	served := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			served <- server.ServeTLS(listener, "", "")
			return
		}
		served <- server.Serve(listener)
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	s.Drain()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		s.log.Warn("requests cut off", "error", err)
		return server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// crowdedLogInterval is how often the log says that connections give way.
const crowdedLogInterval = time.Minute

// crowded counts a connection that gave way or was refused, since all were in use.
func (s *Server) crowded() {
	s.metrics.crowded.Inc()
	if now := s.now(); now.Sub(s.crowdedAt) >= crowdedLogInterval {
		s.crowdedAt = now
		s.log.Warn("all connections are in use; those that wait for their clients give way", "connections", s.conns,
			"advice", "raise the limit of open files, or BLOCKCONSOLE_CONNECTIONS where that is set")
	}
}

// Drain makes /readyz say no and ends the live streams.
func (s *Server) Drain() { s.endStreams() }
