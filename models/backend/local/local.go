// Package local keeps volumes and snapshots as files of one machine.
//
// Under the data folder an object is one folder with its bytes and a description
// of itself:
//
//	volumes/<ref>/meta.json   volumes/<ref>/data.raw     sparse, exactly the volume's size
//	snapshots/<ref>/meta.json snapshots/<ref>/data.raw   read-only, a copy of its own
//	tmp/<ref>/                being made; published by one rename
//	trash/<ref>/              being deleted; the rename into it is the deletion
//	images/*.raw, *.img       put there by the administrator
//	quarantine/               what was found at start and is not ours
//
// Because an object appears and disappears by one rename whose folders are
// synced, a crash at any instant leaves it whole or absent. What is under way
// lives in memory only: after a crash it has vanished, and the caller, which
// kept a record of what it wants, asks for it again.
package local

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"blockconsole/models/backend"
)

// Options says where the backend lives and how it behaves. Dir is required.
type Options struct {
	Dir       string           // the data folder; made when absent
	Now       func() time.Time // nil means the system clock
	Log       *slog.Logger     // nil means slog.Default
	MaxCopies int              // how many copies run at once; 0 means 2
	Reserve   int64            // bytes of the file system never promised to a copy; 0 means 1 %, at most 64 MiB

	// NBD is where servers reach attached volumes; nil: volumes cannot be attached,
	// and those that are stay so on the disk, unserved. The backend closes it.
	NBD net.Listener
	// NBDTLS makes every client speak TLS and prove by a certificate of ClientCAs
	// that it carries the server's name; nil: the address alone tells servers apart.
	NBDTLS *tls.Config
	// Servers lists the servers that the console has registered; needed with NBD.
	// It is asked, with a time limit, when a volume is attached and, at most once a
	// second, when somebody connects.
	Servers func(context.Context) ([]backend.RegisteredServer, error)

	hook func(op, string) error // fails or freezes chosen calls to the disk in tests
}

// ErrInUse says that another process, or another Backend of this one, has the
// data folder open.
var ErrInUse = errors.New("the data folder is in use by another process")

var errClosed = errors.New("the local backend is closed")

// Backend implements [backend.Backend] with files. It is made by [Open].
type Backend struct {
	dir     string
	now     func() time.Time
	log     *slog.Logger
	disk    disk
	reserve int64
	lock    *os.File
	maxFile int64 // the longest file that the file system can hold, bytes
	reflink bool  // the file system shares blocks between files

	ctx       context.Context // ends at Close: copies stop
	cancel    context.CancelFunc
	copySlots chan struct{} // one token per running copy
	wg        sync.WaitGroup
	nbd       *exportServer // nil: off

	mu            sync.Mutex
	closed        bool
	volumes       index
	snapshots     index
	children      map[string]map[string]bool // volume ref -> refs of its snapshots that have bytes, or will
	jobs          map[*job]bool
	idle          chan struct{}      // closed while nothing is under way
	exports       map[string]*object // by ref: those with an export
	holdPerExtent time.Duration      // of the hold for a snapshot of an attached volume
	quarantined   []Quarantined
}

var _ backend.Exporter = (*Backend)(nil)

// Open makes the data folder when it is absent, removes what a crash left
// behind, puts aside what is not ours, loads every object and serves the volumes
// that are attached. It returns
// [ErrInUse] while somebody else has the folder, and an error that names the
// path where the folder cannot be used.
func Open(o Options) (*Backend, error) {
	b, err := openBackend(o)
	if err != nil {
		if o.NBD != nil {
			o.NBD.Close()
		}
		return nil, fmt.Errorf("local backend: %w", err)
	}
	if o.NBD != nil {
		b.resumeExports()
		b.startServing(o)
	}
	return b, nil
}

func openBackend(o Options) (*Backend, error) {
	if o.Dir == "" {
		return nil, errors.New("no data folder given")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	b := &Backend{
		dir: dir, now: o.Now, log: o.Log, disk: disk{hook: o.hook}, reserve: o.Reserve,
		volumes: newIndex(), snapshots: newIndex(), children: map[string]map[string]bool{},
		jobs: map[*job]bool{}, idle: make(chan struct{}), exports: map[string]*object{}, holdPerExtent: initialHoldPerExtent,
	}
	close(b.idle)
	if b.now == nil {
		b.now = time.Now
	}
	if b.log == nil {
		b.log = slog.Default()
	}
	if o.MaxCopies <= 0 {
		o.MaxCopies = 2
	}
	b.copySlots = make(chan struct{}, o.MaxCopies)
	if o.NBD != nil {
		if err := b.newExportServer(o); err != nil {
			return nil, err
		}
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.load(); err != nil {
		b.cancel()
		b.wg.Wait()
		if b.lock != nil {
			b.lock.Close()
		}
		return nil, err
	}
	return b, nil
}

// Close stops running copies, waits for their partial files to be removed, ends
// the servers' connections after the requests under way, flushes what they wrote
// and gives the data folder free. What was being made is made anew by the next
// call for it after the next Open; what is attached stays attached. Calls after
// Close answer [backend.CodeUnavailable].
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.wg.Wait()
	return errors.Join(b.stopServing(), b.lock.Close())
}

// Settled blocks until nothing is being made, deleted or detached, or ctx ends.
func (b *Backend) Settled(ctx context.Context) error {
	for {
		b.mu.Lock()
		idle, n := b.idle, len(b.jobs)
		b.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// checkOpen is the first line of every call of the port.
func (b *Backend) checkOpen(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	}
	return nil
}

// path joins the data folder and names; the names are ours or checked refs.
func (b *Backend) path(names ...string) string {
	return filepath.Join(append([]string{b.dir}, names...)...)
}

// Capabilities tells what files, and the file system that they are on, can do.
func (b *Backend) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Capabilities{}, err
	}
	c := backend.Capabilities{
		Name: "local", Progress: true, Repair: true, Images: true, FreeBytes: -1,
		Attach: b.nbd != nil, OwnServers: b.nbd != nil, ExtendAttached: true, CrashSafe: b.reflink,
		Poll: []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, time.Second},
	}
	if sp, err := b.disk.space(b.dir); err == nil {
		c.FreeBytes = max(0, sp.free-b.reservedBytes(sp))
		c.MaxSizeGiB = int(min(sp.total, b.maxFile) / gib)
	}
	return c, nil
}

// reservedBytes is the part of a file system that copies leave free, so that the console's
// own database can still be written when the volumes have eaten the rest.
func (b *Backend) reservedBytes(sp space) int64 {
	if b.reserve > 0 {
		return b.reserve
	}
	return min(sp.total/100, 64<<20)
}

// Servers is empty: the console registers the servers that may connect.
func (b *Backend) Servers(ctx context.Context, _ string, _ int) (backend.Page[backend.Server], error) {
	return backend.Page[backend.Server]{}, b.checkOpen(ctx)
}

// ChangedVolumes answers [backend.ErrUnsupported]: all of them are as cheap.
func (b *Backend) ChangedVolumes(context.Context, time.Time) ([]backend.Volume, error) {
	return nil, backend.ErrUnsupported
}

// LastFailure answers [backend.ErrNotFound]: the objects carry their failures themselves.
func (b *Backend) LastFailure(context.Context, backend.Subject, backend.Key, time.Time) error {
	return backend.ErrNotFound
}

// RevertVolume answers [backend.ErrUnsupported].
func (b *Backend) RevertVolume(context.Context, backend.Key, backend.Key) error {
	return backend.ErrUnsupported
}
