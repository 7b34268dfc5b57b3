// Command blockconsole is a web console for block storage.
//
//	blockconsole               serves the console
//	blockconsole passwd NAME   sets a user's password and ends its sessions
//
// Every setting is an environment variable or a flag; blockconsole -h lists them.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	_ "time/tzdata" // time zones also where the system has none

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/term"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/local"
	"blockconsole/models/backend/openstack"
	"blockconsole/models/store"
	"blockconsole/models/worker"
	"blockconsole/web"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// What the console writes, it writes for its own user.
	syscall.Umask(0o077)
	if err := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "blockconsole:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

// run is the whole program. It ends when ctx does, or with a sentence that says
// why it cannot start.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("blockconsole", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // an error is one sentence, and help is what was asked for
	given := web.DefineFlags(flags)
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return help(flags, stdout)
	} else if err != nil {
		return fmt.Errorf("%w; blockconsole -h lists the settings", err)
	}
	config, err := web.LoadConfig(append(environ, given()...))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewJSONHandler(stderr, nil))
	for _, name := range config.Unknown {
		log.Warn("unknown setting", "variable", name)
	}
	switch flags.Arg(0) {
	case "":
		return serve(ctx, config, stdout, log)
	case "passwd":
		if flags.NArg() != 2 {
			return errors.New("which user? blockconsole passwd NAME")
		}
		return passwd(ctx, config, flags.Arg(1), stdin, stdout, log)
	}
	return fmt.Errorf("unknown command %q; there is passwd NAME, and none to serve the console", flags.Arg(0))
}

func help(flags *flag.FlagSet, stdout io.Writer) error {
	_, err := fmt.Fprint(stdout, "blockconsole [settings]               serves the console\n",
		"blockconsole [settings] passwd NAME   sets a user's password and ends its sessions\n\n",
		"Settings are environment variables or, where they are no secrets, flags:\n\n")
	if err != nil {
		return err
	}
	flags.SetOutput(stdout)
	flags.PrintDefaults()
	return nil
}

// serve runs the console until ctx is done. What it opens it closes in reverse:
// requests first, then the worker, the storage, the database, the folder.
func serve(ctx context.Context, config web.Config, stdout io.Writer, log *slog.Logger) (err error) {
	closing := func(what string, fn func() error) {
		if closeErr := fn(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", what, closeErr))
		}
	}
	release, err := web.LockFolder(config.Data, log)
	if err != nil {
		return err
	}
	defer func() { closing("data folder", release) }()
	listener, err := listen(config.Addr, "ADDR")
	if err != nil {
		return err
	}
	defer listener.Close() // the server has closed it already, unless the start failed
	store, err := store.Open(config.DSN(), store.Options{Log: log, AllProjects: config.AllProjects})
	if err != nil {
		return err
	}
	defer func() { closing("database", store.Close) }()
	if !store.IsPostgres() { // the folder is ours, and so is the database in it
		if err := store.ReleaseLeases(ctx); err != nil {
			return err
		}
	}
	nbd, err := listenNBD(config)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	storage, closeStorage, err := openBackend(ctx, config, store, nbd, registry, log)
	if err != nil {
		return err
	}
	defer func() { closing("storage", closeStorage) }()
	password, err := firstUser(ctx, store, config)
	if err != nil {
		return err
	}
	stopMetrics, err := serveMetrics(config, registry, log)
	if err != nil {
		return err
	}
	defer stopMetrics()
	stopWorker, err := startWorker(ctx, store, storage, log)
	if err != nil {
		return err
	}
	defer stopWorker()
	fmt.Fprintf(stdout, "blockconsole is at %s\n", config.URL(listener.Addr()))
	if nbd != nil {
		fmt.Fprintf(stdout, "Servers reach attached volumes at %s\n", nbd.Addr())
	}
	if password != "" {
		fmt.Fprintf(stdout, "Sign in as %s with the password %s (it is shown this once)\n", models.FirstUser, password)
	}
	return newServer(config, store, registry, log).Serve(ctx, listener)
}

func listen(addr, variable string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the address %s is in use by another program; stop it, or name another one in BLOCKCONSOLE_%s", addr, variable)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; check BLOCKCONSOLE_%s", addr, err, variable)
	}
	return listener, nil
}

// listenNBD opens the port that servers attach volumes at; nil: it is off.
func listenNBD(config web.Config) (net.Listener, error) {
	if config.NBDAddr == "" || config.Backend != "local" {
		return nil, nil
	}
	return listen(config.NBDAddr, "NBD_ADDR")
}

// openBackend opens what keeps the bytes, and makes sure that the database is of
// the same. It takes nbd over.
func openBackend(ctx context.Context, config web.Config, store *store.Store, nbd net.Listener, registry *prometheus.Registry, log *slog.Logger) (backend.Backend, func() error, error) {
	b, identity, err := openStorage(ctx, config, store, nbd, registry, log)
	if err != nil {
		return nil, nil, err
	}
	if err := store.CheckIdentity(ctx, identity); err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	policy := backend.Policy{Log: log, Observe: web.StorageMetrics(registry)}
	return backend.Intercept(b, policy.Interceptor()), b.Close, nil
}

type closableBackend interface {
	backend.Backend
	Close() error
}

func openStorage(ctx context.Context, config web.Config, store *store.Store, nbd net.Listener, registry *prometheus.Registry, log *slog.Logger) (closableBackend, models.Identity, error) {
	identity := models.Identity{Backend: config.Backend}
	if config.Backend == "openstack" {
		b, err := openstack.Open(ctx, openstack.Options{Log: log, AllProjects: config.AllProjects, Asked: web.CloudMetrics(registry)})
		if err != nil {
			return nil, identity, err
		}
		identity.Cloud, identity.Region = b.Host(), b.Region()
		return b, identity, nil
	}
	b, err := local.Open(local.Options{
		Dir: config.Data, Log: log, NBD: nbd, NBDTLS: config.NBDTLS(),
		Servers: func(ctx context.Context) ([]backend.RegisteredServer, error) { return registeredServers(ctx, store) },
	})
	if err != nil {
		return nil, identity, fmt.Errorf("cannot use the volumes in %s: %w; check BLOCKCONSOLE_DATA", config.Data, err)
	}
	return b, identity, nil
}

// registeredServers are those whom the backend lets in.
func registeredServers(ctx context.Context, store *store.Store) ([]backend.RegisteredServer, error) {
	rows, err := store.RegisteredServers(ctx)
	servers := make([]backend.RegisteredServer, 0, len(rows))
	for _, row := range rows {
		servers = append(servers, backend.RegisteredServer{ID: row.ID, Name: row.Name, Addresses: row.Addresses()})
	}
	return servers, err
}

// firstUser makes the administrator on the first start. The password is returned
// only when it was generated: nobody else knows it.
func firstUser(ctx context.Context, store *store.Store, config web.Config) (string, error) {
	password, generated := config.AdminPassword, ""
	if password == "" {
		generated = models.GeneratePassword()
		password = generated
	}
	made, err := store.EnsureFirstUser(ctx, password)
	if err != nil || !made {
		return "", err
	}
	return generated, nil
}

// startWorker lets the storage follow the records. stop waits for the looks under
// way and gives the leases back. A storage that does not answer yet is no error, one
// that belongs to another database is.
func startWorker(ctx context.Context, store *store.Store, storage backend.Backend, log *slog.Logger) (stop func(), err error) {
	// Not ctx itself: requests that are still being answered write operations, and end first.
	working, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := worker.New(store, storage, worker.Options{Log: log})
	var foreign *models.IdentityError
	switch err := w.Start(working); {
	case errors.As(err, &foreign):
		cancel()
		return nil, err
	case err != nil:
		log.Error("the storage does not answer", "error", err)
	}
	var running sync.WaitGroup
	running.Go(func() { w.Run(working) })
	return func() {
		cancel()
		running.Wait()
	}, nil
}

// serveMetrics answers /metrics on an address of its own, where one is set.
func serveMetrics(config web.Config, registry *prometheus.Registry, log *slog.Logger) (stop func(), err error) {
	if config.MetricsAddr == "" {
		return func() {}, nil
	}
	listener, err := listen(config.MetricsAddr, "METRICS_ADDR")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := web.ServeMetrics(ctx, listener, registry, log); err != nil {
			log.Error("metrics", "error", err)
		}
	})
	return func() {
		cancel()
		serving.Wait()
	}, nil
}

func newServer(config web.Config, store *store.Store, registry *prometheus.Registry, log *slog.Logger) *web.Server {
	running := web.NewRunning(store, time.Now, log)
	return web.New(web.Deps{
		Config: config, Store: store, Log: log, Registry: registry,
		Handlers: web.NewHandlers(store),
		Site: handlers.Site{
			Running: running.Count,
			Attach:  func() bool { return store.Capabilities().Attach },
			Revert:  func() bool { return store.Capabilities().Revert },
		},
	})
}

// passwd sets the password of a user, for the administrator of the host. It works
// beside a running console.
func passwd(ctx context.Context, config web.Config, name string, stdin io.Reader, stdout io.Writer, log *slog.Logger) error {
	if !strings.Contains(config.DSN(), "://") {
		if _, err := os.Stat(config.DSN()); err != nil {
			return fmt.Errorf("there is no database at %s; check BLOCKCONSOLE_DATA and BLOCKCONSOLE_DATABASE, or start the console once", config.DSN())
		}
	}
	store, err := store.Open(config.DSN(), store.Options{Log: log, AllProjects: config.AllProjects})
	if err != nil {
		return err
	}
	err = setPassword(ctx, store, name, stdin, stdout)
	return errors.Join(err, store.Close())
}

func setPassword(ctx context.Context, store *store.Store, name string, stdin io.Reader, stdout io.Writer) error {
	password, err := readPassword(name, stdin, stdout)
	if err != nil {
		return err
	}
	err = store.SetPasswordByName(ctx, name, password)
	e := models.AsError(err)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return fmt.Errorf("there is no user %q", name)
	case e != nil && e.Code == models.CodeInvalid:
		return fmt.Errorf("the password must have %d characters or more, %d bytes or fewer, and not be the user's name",
			models.PasswordMinRunes, models.PasswordMaxBytes)
	case err != nil:
		return err
	}
	fmt.Fprintf(stdout, "The password of %s is set, and its sessions are ended.\n", name)
	return nil
}

// readPassword asks twice on a terminal, without showing it; otherwise it reads
// one line.
func readPassword(name string, stdin io.Reader, stdout io.Writer) (string, error) {
	file, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(stdin).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	var typed [2]string
	for i, prompt := range []string{"New password of " + name + ": ", "Again: "} {
		fmt.Fprint(stdout, prompt)
		b, err := term.ReadPassword(int(file.Fd()))
		fmt.Fprintln(stdout)
		if err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords differ; nothing was changed")
	}
	return typed[0], nil
}
