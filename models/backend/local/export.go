package local

import (
	"os"
	"sync/atomic"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/blockcopy"
	"blockconsole/models/backend/local/nbd"
)

// noSpaceShownFor is how long an attached object shows that the disk was full: since
// the last write that failed, space may have become free.
const noSpaceShownFor = 5 * time.Minute

// maxQuiesce is how long a snapshot may hold writes. Servers give up a disk that does
// not answer for longer.
const maxQuiesce = 20 * time.Second

// export is the file of an attached volume or snapshot while it is served.
type export struct {
	nbd  *nbd.Export // nil, as file, when the file could not be opened
	file *os.File
	dev  *nbd.FileDevice // on file

	opened    os.FileInfo                   // of file, to know it again
	size      atomic.Int64                  // bytes that file has at least
	shortened atomic.Pointer[backend.Error] // file was found shorter once; what servers write later may hide it

	lastFailure atomic.Pointer[diskFailure]

	// Guarded by Backend.mu.
	lastUsed  map[string]time.Time // when a client of a server last connected; absent: not since Open
	extents   int                  // of the file …
	countedAt time.Time            // … at this time
	counting  bool
}

// diskFailure is an error of the disk that an object shows.
type diskFailure struct {
	err       error
	at        time.Time
	transient bool // shown for noSpaceShownFor only
}

// openExport opens an object's file for its servers, a snapshot's for reading. With an
// error, CodeDamaged or CodeFault, it returns an export without device; the latter it
// shows.
func (b *Backend) openExport(m meta) (*export, error) {
	e, mode := &export{lastUsed: map[string]time.Time{}}, os.O_RDWR
	if m.Kind == snapshots {
		mode = os.O_RDONLY
	}
	f, err := b.disk.open(b.objectDir(published, m)+"/"+dataFile, mode)
	if err == nil {
		e.opened, err = f.Stat()
	}
	if d, _ := b.findDamage(m, nil, nil); d != nil && d.Damage != backend.NoDescription {
		if f != nil {
			f.Close()
		}
		return e, d
	}
	if err != nil {
		cause := backend.DiskCause(err)
		b.reportDiskError("open", cause)
		err = &backend.Error{Code: backend.CodeFault, Op: "open", Cause: cause, Path: b.dir, Err: err}
		e.lastFailure.Store(&diskFailure{err: err, at: b.now()})
		return e, err
	}
	dev := nbd.NewFileDevice(f)
	dev.Space = b.space
	if b.disk.hook != nil {
		dev.Hook = func(name string) error { return b.disk.callHook(op(name), f.Name()) }
	}
	e.file, e.dev = f, dev
	e.size.Store(e.opened.Size())
	dev.Check = func() error { return b.checkOpened(e) }
	e.nbd = nbd.NewExport(m.Ref, dev, nbd.ExportOptions{
		ReadOnly:   m.Kind == snapshots,
		MaxQuiesce: maxQuiesce,
		OnError:    func(op string, err error) { b.recordFailure(e, m.Ref, op, err) },
	})
	return e, nil
}

// recordFailure makes the object show an error of the disk. It is called for every
// request that fails, so it must not block.
func (b *Backend) recordFailure(e *export, ref, op string, err error) {
	if backend.AsError(err, backend.CodeDamaged) != nil {
		select {
		case b.inspectNow <- struct{}{}:
		default:
		}
		return
	}
	cause := backend.DiskCause(err)
	b.reportDiskError(op, cause)
	t := &diskFailure{err: &backend.Error{Code: backend.CodeFault, Op: op, Cause: cause, Path: b.dir, Err: err}, at: b.now()}
	if cause == backend.NoBytes || cause == backend.OverQuota {
		t.err, t.transient = &backend.Error{Code: backend.CodeNoSpace, Cause: cause, Path: b.dir, Need: -1, Free: 0, Err: err}, true
	}
	if op == "flush" { // what was written may be lost, whatever the cause
		t.err, t.transient = &backend.Error{Code: backend.CodeFault, Op: op, Cause: cause, Path: b.dir, Err: err}, false
	}
	before := e.lastFailure.Load()
	if before != nil && !before.transient && op != "flush" {
		return // worse than this one
	}
	e.lastFailure.Store(t)
	if before == nil { // the others would fill the log
		b.log.Error("the disk failed a server", "ref", ref, "op", op, "error", err)
	}
}

// failureAt is the error that the object shows.
func (e *export) failureAt(now time.Time) error {
	t := e.lastFailure.Load()
	if t == nil || t.transient && now.Sub(t.at) > noSpaceShownFor {
		return nil
	}
	return t.err
}

// addExportLocked makes clients find the export. Its device has no clients yet, so a copy of
// the volume's bytes that is under way saves what they write from the first write on.
func (b *Backend) addExportLocked(o *object, e *export) {
	o.export = e
	e.setCopying(o.copying)
	b.exports[o.meta.Ref] = o
}

// setCopying makes writes wait for what they overwrite to be copied; nil: not any more.
func (e *export) setCopying(c *blockcopy.Copy) {
	switch {
	case e == nil || e.dev == nil:
	case c == nil:
		e.dev.SetFilter(nil)
	default:
		e.dev.SetFilter(c)
	}
}

// resumeExports exports what is attached, and starts unfinished detachments again. It
// comes before startServing.
func (b *Backend) resumeExports() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, x := range []*index{&b.volumes, &b.snapshots} {
		for _, ref := range x.order {
			if o := x.byRef[ref]; len(o.meta.Attachments) > 0 && o.location == published && o.meta.Status == backend.Available {
				b.resumeExportLocked(o)
			}
		}
	}
}

func (b *Backend) resumeExportLocked(o *object) {
	e, err := b.openExport(o.meta)
	if err != nil {
		b.log.Error("what is attached cannot be served", "kind", o.meta.Kind, "ref", o.meta.Ref, "error", err)
	}
	b.addExportLocked(o, e)
	for _, a := range o.meta.Attachments {
		if a.isDetaching() {
			_, _ = b.startDetachLocked(o, a.Server, false) // fails only after Close
		}
	}
}
