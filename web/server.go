package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"blockconsole/handlers"
	"blockconsole/models"
)

// Limits of one request. Live streams have none of their own; they set a deadline
// per event.
const (
	bodyLimit         = "1M"
	headerTimeout     = 10 * time.Second
	readTimeout       = 30 * time.Second
	pageTimeout       = 30 * time.Second // for a page, and for a click after its browser has left
	writeTimeout      = 5 * time.Minute  // exports of a million rows take a while
	idleTimeout       = 2 * time.Minute
	drainTimeout      = 10 * time.Second
	readyCheckTimeout = 2 * time.Second
	errorPageTimeout  = 5 * time.Second
)

// Store is what the server itself asks of the database.
type Store interface {
	Session(ctx context.Context, token string) (*models.SignedIn, error)
	Ping(ctx context.Context) error
}

// Deps is what the server is made of. Site's Now, Log, TimeZone, Secure and
// Draining are filled in by New.
type Deps struct {
	Config   Config
	Store    Store
	Handlers func(site *handlers.Site) Handlers
	Site     handlers.Site
	Now      func() time.Time // nil: the wall clock
	Log      *slog.Logger     // nil: slog.Default()
	Registry *prometheus.Registry
}

// Server is the console's HTTP side.
type Server struct {
	Echo *echo.Echo

	config   Config
	store    Store
	site     *handlers.Site
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics
	access   []accessRule
	live     *handlers.Live
	draining atomic.Bool
	closing  chan struct{} // closed when streams have to end
	stop     sync.Once
}

// New builds the server with all its routes and middleware.
func New(d Deps) *Server {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Log == nil {
		d.Log = slog.Default()
	}
	if d.Registry == nil {
		d.Registry = prometheus.NewRegistry()
	}
	s := &Server{Echo: echo.New(), config: d.Config, store: d.Store, log: d.Log, now: d.Now,
		metrics: newMetrics(d.Registry), closing: make(chan struct{})}
	site := d.Site
	site.Now, site.Log, site.Secure, site.Draining = d.Now, d.Log, d.Config.Secure(), s.draining.Load
	site.TimeZone = d.Config.TimeZone.String()
	site.ExportHost, site.ExportTLS = d.Config.ExportHost(), d.Config.ExportTLS()
	s.site = &site

	s.Echo.HideBanner, s.Echo.HidePort = true, true
	s.Echo.HTTPErrorHandler = s.answerError
	s.Echo.IPExtractor = ipExtractor(d.Config.TrustedProxies)
	s.Echo.Logger.SetOutput(errorWriter{d.Log})
	s.use()
	h := d.Handlers(s.site)
	s.live = h.Live
	s.routes(h)
	return s
}

// errorWriter sends what Echo itself has to say to slog.
type errorWriter struct{ log *slog.Logger }

func (w errorWriter) Write(b []byte) (int, error) {
	w.log.Warn("echo", "message", string(b))
	return len(b), nil
}

// Serve answers on listener until ctx is done, then ends in order: not ready any
// more, live streams closed, requests under way finished, for at most 10 s.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.Echo, TLSConfig: s.config.TLS(), ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
	// Live pages end first: their streams would hold the shutdown up.
	var live sync.WaitGroup
	defer live.Wait()
	live.Go(func() { s.live.Run(ctx) })
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

// Drain makes /readyz say no and ends the live streams.
func (s *Server) Drain() {
	s.draining.Store(true)
	s.stop.Do(func() { close(s.closing) })
}
