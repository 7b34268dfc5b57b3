// Package local keeps volumes and snapshots as files of one machine.
//
// An object is one folder below the data folder, with its bytes and its description:
//
//	volumes/<ref>/meta.json   volumes/<ref>/data.raw     sparse, exactly the volume's size
//	snapshots/<ref>/meta.json snapshots/<ref>/data.raw   read-only, a copy of its own
//	snapshots/<ref>/checksums                            SHA-256 of each 4 MiB of data.raw, made some time later; see package checksum
//	tmp/<ref>/                being made; published by one rename
//	trash/<ref>/              being deleted; the rename into it is the deletion
//	images/*.raw, .img, .iso  put there by the administrator
//	quarantine/               what was found at start and is not ours
//
// An object appears and disappears by one rename whose folders are synced, so a
// crash at any instant leaves it whole or absent. Work under way is known in memory
// only: after a crash the caller, which has a record of it, asks for it again.
package local

import (
	"cmp"
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
	"blockconsole/models/reserve"
)

// Options says where the backend lives and how it behaves. Dir is required.
type Options struct {
	Dir       string           // the data folder; made when absent
	Now       func() time.Time // nil means the system clock
	Log       *slog.Logger     // nil means slog.Default
	MaxCopies int              // number of copies at once; 0 means 2

	// Space is the reserve of the data folder, which somebody runs. nil: the backend makes
	// one of Reserve bytes (0: by the size of the file system) and runs it until Close.
	Space   *reserve.Reserve
	Reserve int64

	// ChecksumRate is how many bytes a second are read for checksums, at most; 0 means 100 MiB. Negative: checksums
	// are computed only when somebody asks, and then at any rate.
	ChecksumRate int64
	// OnDiskError gets every error of the disk, for metrics: the call that failed, and its
	// cause, empty where it is none of a disk. It must not block. May be nil.
	OnDiskError func(op string, cause backend.Cause)

	// NBD accepts the connections of servers; the backend closes it. nil: volumes
	// cannot be attached, and attached ones are not served.
	NBD net.Listener
	// NBDTLS requires TLS and a certificate of ClientCAs that carries the server's
	// name. nil: only the address tells servers apart.
	NBDTLS *tls.Config
	// MaxFiles is the number of files that connections of servers and attached volumes
	// may have open; 0 means no bound of ours.
	MaxFiles int
	// Servers lists the servers that are registered in the console; required with
	// NBD. It is called when a volume is attached and at most once a second when
	// clients connect; ctx ends after 5 seconds.
	Servers func(context.Context) ([]backend.RegisteredServer, error)
	// OnRefused is told why a client of NBD was turned away or disconnected: one of
	// the values of [nbd.Refusal], or "registration". It must not block. nil discards.
	OnRefused func(reason string)

	hook func(op, string) error // tests: makes calls to the disk fail
}

// ErrInUse says that another process, or another Backend of this one, has the
// data folder open.
var ErrInUse = errors.New("the data folder is in use by another process")

var errClosed = errors.New("the local backend is closed")

// Backend implements [backend.Backend] with files. [Open] makes it.
type Backend struct {
	dir     string
	now     func() time.Time
	log     *slog.Logger
	disk    disk
	space   *reserve.Reserve
	lock    *os.File
	maxFile int64 // bytes of the longest file that the file system can hold
	reflink bool  // files of the file system can share blocks

	ctx       context.Context // ends at Close: copies stop
	cancel    context.CancelFunc
	copySlots chan struct{}  // one token per running copy
	saveLimit time.Duration  // how long a write waits for a copy; 0: blockcopy.DefaultLimit
	wg        sync.WaitGroup // of the jobs
	watching  sync.WaitGroup // of the own reserve and the checks
	nbd       *exportServer  // nil: off

	onDiskError func(op string, cause backend.Cause)

	mu            sync.Mutex
	closed        bool
	volumes       index
	snapshots     index
	children      relation // volume -> its snapshots that have bytes, or will
	copyTargets   relation // source -> objects that are being copied from it
	jobs          map[*job]bool
	exports       map[string]*object // those with an export, by ref
	holdPerExtent time.Duration      // see estimateHoldLocked …
	holdToDrain   time.Duration      // … also
	damaged       map[*object]bool   // those with object.damage
	turn          turn

	imageFormats imageFormats

	checking checking

	inspectNow  chan struct{} // wakes the inspections …
	inspections chan struct{} // … which close this at their end
}

var _ backend.Exporter = (*Backend)(nil)

// Open makes the data folder when it is absent, removes what a crash left,
// quarantines what is not ours, loads every object and serves what is attached.
// Errors: [ErrInUse] while another process has the folder; otherwise one that names
// the path that cannot be used.
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
	go b.runInspections()
	b.watching.Go(b.runChecks)
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
		dir: dir, now: o.Now, log: cmp.Or(o.Log, slog.Default()), disk: disk{hook: o.hook}, onDiskError: o.OnDiskError,
		volumes: newIndex(), snapshots: newIndex(), children: relation{}, copyTargets: relation{},
		jobs: map[*job]bool{}, exports: map[string]*object{}, holdPerExtent: initialHoldPerExtent, holdToDrain: initialHoldToDrain,
		damaged: map[*object]bool{}, turn: turn{kind: volumes}, inspectNow: make(chan struct{}, 1), inspections: make(chan struct{}),
		imageFormats: imageFormats{known: map[string]knownFormat{}},
		copySlots:    make(chan struct{}, cmp.Or(o.MaxCopies, 2)),
		checking:     newChecking(o.ChecksumRate),
	}
	if b.now == nil {
		b.now = time.Now
	}
	if o.NBD != nil {
		if b.nbd, err = b.newExportServer(o); err != nil {
			return nil, err
		}
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.load(o); err != nil {
		b.cancel()
		b.wg.Wait()
		b.watching.Wait()
		if b.lock != nil {
			_ = b.unlockDataDir()
		}
		return nil, err
	}
	return b, nil
}

// Close stops running copies and removes their partial files, finishes and flushes
// the requests of connected servers, disconnects them and unlocks the data folder.
// Unfinished objects are made by the next call for them after the next Open; attached
// volumes stay attached. Calls after Close answer [backend.CodeUnavailable]. Errors:
// what the disk refused.
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	for _, o := range b.volumes.byRef {
		b.dropKeptLocked(o)
	}
	b.mu.Unlock()
	b.cancel()
	b.wg.Wait()
	b.watching.Wait()
	select {
	case <-b.inspections:
	case <-time.After(shutdownTimeout): // the disk hangs
	}
	return errors.Join(b.stopServing(), b.unlockDataDir())
}

// checkOpen is the first step of every call of the port. Its error is that of ctx, or
// CodeUnavailable after Close.
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

// inventoryPace is how often images/ and the free space are read: an image that was put
// there is offered within two seconds.
const inventoryPace = time.Second

// path joins the data folder and names, which are ours or valid refs.
func (b *Backend) path(names ...string) string {
	return filepath.Join(append([]string{b.dir}, names...)...)
}

// Capabilities tells what files, and the file system that they are on, can do.
// Errors: CodeUnavailable after Close.
func (b *Backend) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Capabilities{}, err
	}
	c := backend.Capabilities{
		Name: "local", Progress: true, Repair: true, Checksums: true, Locks: true, Images: true, FreeBytes: -1, DataDir: b.dir,
		Attach: b.nbd != nil, AttachSnapshots: b.nbd != nil, OwnServers: b.nbd != nil, ExtendAttached: true,
		Pace: backend.Pace{Small: inventoryPace},
		Poll: []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond, time.Second},
	}
	s := b.space.State()
	c.FreeBytes, c.MaxSizeGiB = s.Margin, int(min(s.Total, b.maxFile)/gib)
	if s.Short != "" {
		free, total := s.Figures(s.Short)
		c.Shortage = &backend.Shortage{Cause: s.Short, Disk: b.dir, Free: free, Total: total}
	}
	return c, nil
}

// Servers is empty: they are registered in the console. Errors: CodeUnavailable after
// Close.
func (b *Backend) Servers(ctx context.Context, _ string, _ int) (backend.Page[backend.Server], error) {
	return backend.Page[backend.Server]{}, b.checkOpen(ctx)
}

// ChangedVolumes is not offered: listing all volumes is as cheap. Errors:
// CodeUnsupported.
func (b *Backend) ChangedVolumes(context.Context, time.Time) ([]backend.Volume, error) {
	return nil, backend.ErrUnsupported
}

// LastFailure is empty: objects carry their failures. Errors: CodeNotFound.
func (b *Backend) LastFailure(context.Context, backend.SubjectType, backend.Key, time.Time) error {
	return backend.ErrNotFound
}

// RevertVolume is not offered. Errors: CodeUnsupported.
func (b *Backend) RevertVolume(context.Context, backend.Key, backend.Key) error {
	return backend.ErrUnsupported
}
