package web

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"blockconsole/web/admission"
)

type metrics struct {
	requests *prometheus.HistogramVec
	streams  prometheus.Gauge
	crowded  prometheus.Counter
}

func newMetrics(registry *prometheus.Registry) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "blockconsole_http_request_seconds", Help: "Time to answer, by route, method and class of status. Live streams are not in it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route", "method", "class"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "blockconsole_live_streams", Help: "Live streams that are open."}),
		crowded: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "blockconsole_http_crowded_connections_total", Help: "Connections that gave way to others or were refused, since all were in use.",
		}),
	}
	registry.MustRegister(m.requests, m.streams, m.crowded, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) observe(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status/100)+"xx").Observe(took.Seconds())
}

// StorageMetrics returns an observer of the calls to the backend. kind is the code
// of the call's error, empty for none.
func StorageMetrics(registry *prometheus.Registry) func(call string, took time.Duration, kind string) {
	calls := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "blockconsole_storage_call_seconds", Help: "Time of calls to the storage, with their repetitions, by call and kind of error (empty: none).",
		Buckets: []float64{.001, .01, .05, .1, .25, .5, 1, 2.5, 5, 15, 60},
	}, []string{"call", "error"})
	registry.MustRegister(calls)
	return func(call string, took time.Duration, kind string) {
		calls.WithLabelValues(call, kind).Observe(took.Seconds())
	}
}

// CloudMetrics returns a counter of the requests to a cloud. status is that of the
// answer, 0 without one.
func CloudMetrics(registry *prometheus.Registry) func(method string, status int) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "blockconsole_cloud_requests_total", Help: "Requests to the cloud's services, by method and status of the answer (0: none).",
	}, []string{"method", "status"})
	registry.MustRegister(requests)
	return func(method string, status int) { requests.WithLabelValues(method, strconv.Itoa(status)).Inc() }
}

func metricsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

const (
	metricsConns   = 8 // at once; there is one Prometheus, or two
	metricsTimeout = 30 * time.Second
)

// ServeMetrics answers /metrics on a listener of its own until ctx is done.
func ServeMetrics(ctx context.Context, listener net.Listener, registry *prometheus.Registry, log *slog.Logger) error {
	server := &http.Server{Handler: metricsHandler(registry), ReadHeaderTimeout: metricsTimeout, ReadTimeout: metricsTimeout, WriteTimeout: metricsTimeout,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	stop := context.AfterFunc(ctx, func() {
		if err := server.Close(); err != nil {
			log.Warn("metrics listener", "error", err)
		}
	})
	defer stop()
	listener = admission.Limit(listener, metricsConns, time.Now, nil)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
