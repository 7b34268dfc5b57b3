package local

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/nbd"
)

// noSpaceShownFor is how long an attached volume's page says that the disk was full,
// after the last time that a server met it: space may be there again.
const noSpaceShownFor = 5 * time.Minute

// maxQuiesce is when writes go on though the snapshot is not taken: servers give
// a disk up that is silent for longer.
const maxQuiesce = 20 * time.Second

// export is an attached volume's file while it is served.
type export struct {
	nbd  *nbd.Export // nil when the file could not be opened, and with it file
	file *os.File

	cut         chan struct{} // closed when a detachment shall wait for nobody
	cutOnce     sync.Once
	lastFailure atomic.Pointer[diskFailure]

	// Guarded by Backend.mu.
	lastUsed  time.Time // when a server last asked for it; this process knows of no earlier one
	extents   int       // that the file had …
	countedAt time.Time // … then
	counting  bool
}

// diskFailure is the last thing that went wrong on the disk.
type diskFailure struct {
	err       error
	at        time.Time
	transient bool
}

// openExport opens a volume's file for its servers. When that fails, the export
// is there without a device, and the failure is returned too.
func (b *Backend) openExport(m meta) (*export, error) {
	e := &export{cut: make(chan struct{})}
	f, err := b.disk.open(b.objectDir(published, m)+"/"+dataFile, os.O_RDWR)
	if err != nil {
		err = &backend.Error{Code: backend.CodeFault, Op: "open", Err: err}
		e.lastFailure.Store(&diskFailure{err: err, at: b.now()})
		return e, err
	}
	dev := nbd.NewFileDevice(f)
	if b.disk.hook != nil {
		dev.Hook = func(name string) error { return b.disk.callHook(op(name), f.Name()) }
	}
	e.file = f
	e.nbd = nbd.NewExport(m.Ref, dev, nbd.ExportOptions{
		MaxQuiesce: maxQuiesce,
		OnError:    func(op string, err error) { b.recordFailure(e, m.Ref, op, err) },
	})
	return e, nil
}

// recordFailure remembers an error of the disk for the volume's page. It is called
// for every request that fails, so it does not wait for anything.
func (b *Backend) recordFailure(e *export, ref, op string, err error) {
	t := &diskFailure{err: &backend.Error{Code: backend.CodeFault, Op: op, Err: err}, at: b.now()}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		t.err, t.transient = &backend.Error{Code: backend.CodeNoSpace, Need: -1, Free: 0}, op != "flush"
	}
	if e.lastFailure.Swap(t) == nil { // the first; the rest would fill the log
		b.log.Error("the disk failed a server", "volume", ref, "op", op, "error", err)
	}
}

// portError is what the page should say.
func (e *export) failureAt(now time.Time) error {
	t := e.lastFailure.Load()
	if t == nil || t.transient && now.Sub(t.at) > noSpaceShownFor {
		return nil
	}
	return t.err
}

// cutOff lets the detachment end connections instead of waiting for them.
func (e *export) cutOff() { e.cutOnce.Do(func() { close(e.cut) }) }

// isDetaching says that the volume is on its way from its server.
func (o *object) isDetaching() bool {
	return len(o.meta.Attachments) > 0 && !o.meta.Attachments[0].DetachingSince.IsZero()
}

// addExportLocked makes o one of the served volumes.
func (b *Backend) addExportLocked(o *object, e *export) {
	o.export = e
	b.exports[o.meta.Ref] = o
}

// resumeExports serves the volumes again that were attached when the last process
// ended, and goes on with detachments that it had begun. Nobody is connected yet.
func (b *Backend) resumeExports() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ref := range b.volumes.order {
		o := b.volumes.byRef[ref]
		if len(o.meta.Attachments) == 0 || o.location != published || o.meta.Status != backend.Available {
			continue
		}
		e, err := b.openExport(o.meta)
		if err != nil {
			b.log.Error("an attached volume cannot be served", "volume", ref, "error", err)
		}
		b.addExportLocked(o, e)
		if o.isDetaching() {
			_, _ = b.startDetachLocked(o) // only a closed backend refuses
		}
	}
}
