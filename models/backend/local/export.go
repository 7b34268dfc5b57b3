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

// fullShown is how long an attached volume's page says that the disk was full,
// after the last time that a server met it: space may be there again.
const fullShown = 5 * time.Minute

// longestHold is when writes go on though the snapshot is not taken: servers give
// a disk up that is silent for longer.
const longestHold = 20 * time.Second

// export is an attached volume's file while it is served.
type export struct {
	nbd  *nbd.Export // nil when the file could not be opened, and with it file
	file *os.File

	cut     chan struct{} // closed when a detachment shall wait for nobody
	cutOnce sync.Once
	trouble atomic.Pointer[trouble]

	// Guarded by Backend.mu.
	used      time.Time // when a server last asked for it; this process knows of no earlier one
	extents   int       // that the file had …
	countedAt time.Time // … then
	counting  bool
}

// trouble is the last thing that went wrong on the disk.
type trouble struct {
	failure error
	at      time.Time
	passes  bool
}

// openExport opens a volume's file for its servers. When that fails, the export
// is there without a device, and the failure is returned too.
func (b *Backend) openExport(m meta) (*export, error) {
	e := &export{cut: make(chan struct{})}
	f, err := b.disk.open(b.folder(home, m)+"/"+dataName, os.O_RDWR)
	if err != nil {
		err = &backend.Error{Code: backend.CodeFault, Op: "open", Err: err}
		e.trouble.Store(&trouble{failure: err, at: b.now()})
		return e, err
	}
	dev := nbd.NewFileDevice(f)
	if b.disk.hook != nil {
		dev.Hook = func(name string) error { return b.disk.ask(op(name), f.Name()) }
	}
	e.file = f
	e.nbd = nbd.NewExport(m.Ref, dev, nbd.ExportOptions{
		MaxQuiesce: longestHold,
		OnError: func(op string, err error) { b.noteTrouble(e, m.Ref, op, err) },
	})
	return e, nil
}

// noteTrouble remembers an error of the disk for the volume's page. It is called
// for every request that fails, so it does not wait for anything.
func (b *Backend) noteTrouble(e *export, ref, op string, err error) {
	t := &trouble{failure: &backend.Error{Code: backend.CodeFault, Op: op, Err: err}, at: b.now()}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		t.failure, t.passes = &backend.Error{Code: backend.CodeNoSpace, Need: -1, Free: 0}, op != "flush"
	}
	if e.trouble.Swap(t) == nil { // the first; the rest would fill the log
		b.log.Error("the disk failed a server", "volume", ref, "op", op, "error", err)
	}
}

// failure is what the page should say.
func (e *export) failure(now time.Time) error {
	t := e.trouble.Load()
	if t == nil || t.passes && now.Sub(t.at) > fullShown {
		return nil
	}
	return t.failure
}

// cutOff lets the detachment end connections instead of waiting for them.
func (e *export) cutOff() { e.cutOnce.Do(func() { close(e.cut) }) }

// detaching says that the volume is on its way from its server.
func (o *object) detaching() bool {
	return len(o.meta.Attachments) > 0 && !o.meta.Attachments[0].Leaving.IsZero()
}

// exportLocked makes o one of the served volumes.
func (b *Backend) exportLocked(o *object, e *export) {
	o.export = e
	b.exported[o.meta.Ref] = o
}

// exportLoaded serves the volumes again that were attached when the last process
// ended, and goes on with detachments that it had begun. Nobody is connected yet.
func (b *Backend) exportLoaded() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ref := range b.volumes.order {
		o := b.volumes.byRef[ref]
		if len(o.meta.Attachments) == 0 || o.place != home || o.meta.Status != backend.Available {
			continue
		}
		e, err := b.openExport(o.meta)
		if err != nil {
			b.log.Error("an attached volume cannot be served", "volume", ref, "error", err)
		}
		b.exportLocked(o, e)
		if o.detaching() {
			_, _ = b.detachLocked(o) // only a closed backend refuses
		}
	}
}
