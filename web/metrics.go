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

	"blockconsole/models/backend"
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

// DiskMetrics returns a counter of the errors of this machine's disk: by the call that
// failed, and by cause, empty where it is none of a disk.
func DiskMetrics(registry *prometheus.Registry) func(op string, cause backend.Cause) {
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "blockconsole_disk_errors_total", Help: "Errors of the data folder's disk, by operation (of a server, open or files) and cause.",
	}, []string{"op", "cause"})
	registry.MustRegister(failures)
	return func(op string, cause backend.Cause) { failures.WithLabelValues(op, string(cause)).Inc() }
}

// ReserveMetrics shows the free space of the data folder's disk. short is what there is
// too little of, empty for nothing; whole says that the reserve is in place.
func ReserveMetrics(registry *prometheus.Registry, state func() (freeBytes, freeInodes int64, short string, whole bool)) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	gauge("blockconsole_disk_free_bytes", "Free bytes of the data folder's disk.", nil, func() float64 { n, _, _, _ := state(); return float64(n) })
	gauge("blockconsole_disk_free_inodes", "Free inodes of the data folder's disk; 0 where they are made as needed.", nil, func() float64 { _, n, _, _ := state(); return float64(n) })
	gauge("blockconsole_disk_reserve_whole", "1 while the reserve of the data folder is in place, 0 after it was given back.", nil, func() float64 { _, _, _, whole := state(); return oneIf(whole) })
	for _, cause := range backend.DiskCauses() {
		gauge("blockconsole_disk_short", "1 while the data folder's disk takes nothing new for this cause.", prometheus.Labels{"cause": string(cause)},
			func() float64 { _, _, short, _ := state(); return oneIf(short == string(cause)) })
	}
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
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

// NBDMetrics returns a counter of the clients of attached volumes that were turned
// away or disconnected, by reason.
func NBDMetrics(registry *prometheus.Registry) func(reason string) {
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "blockconsole_nbd_refused_total", Help: "NBD clients that were turned away or disconnected, by reason.",
	}, []string{"reason"})
	registry.MustRegister(refused)
	return func(reason string) { refused.WithLabelValues(reason).Inc() }
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
