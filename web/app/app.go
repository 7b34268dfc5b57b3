// Package app puts the console together: data folder, database, storage, worker
// and server. The program and its tests run the same Main.
package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
	"blockconsole/models/worker"
	"blockconsole/web"
	"blockconsole/web/config"
)

// Main is the program. RunProcess calls Run; a test calls Open, then Serve or only
// the parts that it is about, and Close. It is used once.
type Main struct {
	Args           []string // without the program's name
	Environ        []string // as os.Environ returns it
	Stdin          io.Reader
	Stdout, Stderr io.Writer // nil: discarded

	// Open sets what is nil here to what the program uses. A Store and a Backend that
	// were set are used as they are, and stay open.
	Now      func() time.Time     // the wall clock
	Log      *slog.Logger         // JSON to Stderr
	Registry *prometheus.Registry // of the metrics
	Listener net.Listener         // at BLOCKCONSOLE_ADDR; Close closes it
	Store    *store.Store         // BLOCKCONSOLE_DATABASE
	Backend  backend.Backend      // BLOCKCONSOLE_BACKEND, with retries, metrics and logs

	// ResyncInterval is how often everything is read from a backend that has no
	// interval of its own; 0: the mirror's default.
	ResyncInterval time.Duration

	// Set by Open.
	Config config.Config
	Mirror *mirror.Mirror
	Worker *worker.Worker
	Server *web.Server

	nbd, metrics net.Listener // nil: off
	password     string       // of the first user, when it was generated
	closers      []closer
}

type closer struct {
	name  string
	close func() error
}

// Run is the whole program. It ends when ctx does, or with a sentence that says
// why it cannot start.
func (m *Main) Run(ctx context.Context) error {
	command, err := m.configure()
	switch {
	case errors.Is(err, flag.ErrHelp):
		return m.help()
	case err != nil:
		return err
	case len(command) == 0:
		if err := m.open(ctx); err != nil {
			return err
		}
		return errors.Join(m.Serve(ctx), m.Close())
	case command[0] != "passwd":
		return fmt.Errorf("unknown command %q; there is passwd NAME, and none to serve the console", command[0])
	case len(command) != 2:
		return errors.New("which user? blockconsole passwd NAME")
	}
	return m.setPassword(ctx, command[1])
}

// Open reads the settings, opens the database and the storage, and listens. After
// an error, a sentence for the administrator, nothing stays open.
func (m *Main) Open(ctx context.Context) error {
	if _, err := m.configure(); err != nil {
		return err
	}
	return m.open(ctx)
}

func (m *Main) open(ctx context.Context) error {
	for _, step := range []func(context.Context) error{
		m.lockData, m.listen, m.openStore, m.releaseLeases, m.openBackend, m.addFirstUser, m.listenMetrics,
	} {
		if err := step(ctx); err != nil {
			return errors.Join(err, m.Close())
		}
	}
	m.Mirror = mirror.New(m.Store, m.Backend, mirror.Options{Log: m.Log, ResyncInterval: m.ResyncInterval})
	m.Worker = worker.New(m.Mirror, worker.Options{Log: m.Log})
	m.Server = web.New(web.Options{Config: m.Config, Store: m.Store, Now: m.Now, Log: m.Log, Registry: m.Registry})
	return nil
}

// URL is where browsers find the console.
func (m *Main) URL() string { return m.Config.URL(m.Listener.Addr()) }

// Serve works and answers requests until ctx ends. Requests end first, since they
// write operations; then the worker finishes what is under way and gives its
// leases back.
func (m *Main) Serve(ctx context.Context) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	if err := m.startLoops(background, &running); err != nil {
		return err
	}
	if m.metrics != nil {
		running.Go(func() {
			if err := web.ServeMetrics(background, m.metrics, m.Registry, m.Log); err != nil {
				m.Log.Error("metrics", "error", err)
			}
		})
	}
	fmt.Fprintf(m.Stdout, "blockconsole is at %s\n", m.URL())
	if m.nbd != nil {
		fmt.Fprintf(m.Stdout, "Servers reach attached volumes at %s\n", m.nbd.Addr())
	}
	if m.password != "" {
		fmt.Fprintf(m.Stdout, "Sign in as %s with the password %s (it is shown this once)\n", models.FirstUser, m.password)
	}
	return m.Server.Serve(ctx, m.Listener)
}

// startLoops starts the mirror and the worker. It refuses a storage that belongs to
// another database; one that does not answer yet is no error.
func (m *Main) startLoops(ctx context.Context, running *sync.WaitGroup) error {
	var foreign *models.IdentityError
	switch err := m.Mirror.Start(ctx); {
	case errors.As(err, &foreign):
		return err
	case err != nil:
		m.Log.Error("the storage does not answer", "error", err)
	}
	running.Go(func() { m.Mirror.Run(ctx) })
	running.Go(func() { m.Worker.Run(ctx) })
	return nil
}

// onClose lets Close call fn, and name its error.
func (m *Main) onClose(name string, fn func() error) { m.closers = append(m.closers, closer{name, fn}) }

// Close closes what Open has opened, the last first.
func (m *Main) Close() error {
	var all []error
	for len(m.closers) > 0 {
		last := m.closers[len(m.closers)-1]
		m.closers = m.closers[:len(m.closers)-1]
		if err := last.close(); err != nil {
			all = append(all, fmt.Errorf("%s: %w", last.name, err))
		}
	}
	return errors.Join(all...)
}
