package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/local"
	"blockconsole/models/backend/openstack"
	"blockconsole/models/store"
	"blockconsole/web"
	"blockconsole/web/config"
)

// lockData takes the data folder for this process.
func (m *Main) lockData(context.Context) error {
	unlock, err := config.LockDataDir(m.Config.Data, m.Log)
	if err == nil {
		m.onClose("data folder", unlock)
	}
	return err
}

func (m *Main) listen(ctx context.Context) (err error) {
	if m.Listener == nil {
		m.Listener, err = m.listenAt(ctx, m.Config.Addr, "ADDR")
		return err
	}
	m.closeListener(m.Listener)
	return nil
}

// listenAt listens at the address that a setting names.
func (m *Main) listenAt(ctx context.Context, addr, setting string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("the address %s is in use by another program; stop it, or name another one in BLOCKCONSOLE_%s", addr, setting)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w; check BLOCKCONSOLE_%s", addr, err, setting)
	}
	m.closeListener(listener)
	return listener, nil
}

// closeListener closes it at the end, if nobody who served it has.
func (m *Main) closeListener(listener net.Listener) {
	m.onClose("listener", func() error {
		if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
}

func (m *Main) openStore(context.Context) (err error) {
	if m.Store != nil {
		return nil
	}
	m.Store, err = store.Open(m.Config.DSN(), store.Options{Now: m.Now, Log: m.Log, AllProjects: m.Config.AllProjects})
	if err == nil {
		m.onClose("database", m.Store.Close)
	}
	return err
}

// releaseLeases takes back what an earlier process of this database held. Other
// consoles work beside this one on PostgreSQL; a database in our folder is ours.
func (m *Main) releaseLeases(ctx context.Context) error {
	if m.Store.IsPostgres() {
		return nil
	}
	return m.Store.ReleaseLeases(ctx)
}

// openBackend opens the storage that the settings name, and makes sure that the
// database is of the same.
func (m *Main) openBackend(ctx context.Context) error {
	if m.Backend != nil {
		return nil
	}
	open := m.openLocal
	if m.Config.Backend == "openstack" {
		open = m.openOpenStack
	}
	b, identity, err := open(ctx)
	if err != nil {
		return err
	}
	m.onClose("storage", b.Close)
	policy := backend.Policy{Log: m.Log, Observe: web.StorageMetrics(m.Registry)}
	m.Backend = backend.Intercept(b, policy.Interceptor())
	identity.Backend = m.Config.Backend
	return m.Store.CheckIdentity(ctx, identity)
}

type closableBackend interface {
	backend.Backend
	Close() error
}

func (m *Main) openOpenStack(ctx context.Context) (closableBackend, models.Identity, error) {
	b, err := openstack.Open(ctx, openstack.Options{Log: m.Log, AllProjects: m.Config.AllProjects, OnRequest: web.CloudMetrics(m.Registry)})
	if err != nil {
		return nil, models.Identity{}, err
	}
	return b, models.Identity{Cloud: b.Host(), Region: b.Region()}, nil
}

// openLocal also listens where servers attach volumes.
func (m *Main) openLocal(ctx context.Context) (_ closableBackend, _ models.Identity, err error) {
	if m.Config.NBDAddr != "" {
		if m.nbd, err = m.listenAt(ctx, m.Config.NBDAddr, "NBD_ADDR"); err != nil {
			return nil, models.Identity{}, err
		}
	}
	b, err := local.Open(local.Options{
		Dir: m.Config.Data, Now: m.Now, Log: m.Log, NBD: m.nbd, NBDTLS: m.Config.NBDTLS(), Servers: m.registeredServers,
	})
	if err != nil {
		return nil, models.Identity{}, fmt.Errorf("cannot use the volumes in %s: %w; check BLOCKCONSOLE_DATA", m.Config.Data, err)
	}
	return b, models.Identity{}, nil
}

// registeredServers are the servers that may connect.
func (m *Main) registeredServers(ctx context.Context) ([]backend.RegisteredServer, error) {
	rows, err := m.Store.Servers.RegisteredServers(ctx)
	servers := make([]backend.RegisteredServer, 0, len(rows))
	for _, row := range rows {
		servers = append(servers, backend.RegisteredServer{ID: row.ID, Name: row.Name, Addresses: row.Addresses()})
	}
	return servers, err
}

// addFirstUser adds the administrator on the first start. A generated password is
// kept until it is shown: nobody else knows it.
func (m *Main) addFirstUser(ctx context.Context) error {
	password := m.Config.AdminPassword
	if password == "" {
		password = models.GeneratePassword()
	}
	added, err := m.Store.Users.EnsureFirstUser(ctx, password)
	if e := models.AsError(err); e != nil && e.Code == models.CodeInvalid {
		return fmt.Errorf("BLOCKCONSOLE_ADMIN_PASSWORD: %s", models.PasswordRule)
	}
	if added && m.Config.AdminPassword == "" {
		m.password = password
	}
	return err
}

// warnOfNames tells of users that can be taken for one another: they stay, but no new
// ones are accepted.
func (m *Main) warnOfNames(ctx context.Context) error {
	names, err := m.Store.Users.DoubtfulNames(ctx)
	if len(names) > 0 {
		m.Log.Warn("users have names that can be taken for another user's, for the host's or for an address; give these people users with other names and delete the old ones", "users", names)
	}
	return err
}

// listenMetrics listens for /metrics, which has an address of its own.
func (m *Main) listenMetrics(ctx context.Context) (err error) {
	if m.Config.MetricsAddr != "" {
		m.metrics, err = m.listenAt(ctx, m.Config.MetricsAddr, "METRICS_ADDR")
	}
	return err
}
