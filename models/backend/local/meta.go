package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"blockconsole/models/backend"
)

const (
	dataFile            = "data.raw"
	metaFile            = "meta.json"
	checksumFile        = "checksums"
	metaFormat          = 1
	maxNameChars        = 255
	maxDescriptionChars = 4096
	maxMetaBytes        = 1 << 20 // far more than the longest texts take
)

// kind is volumes or snapshots; its value is the name of the folder.
type kind string

const (
	volumes   kind = "volumes"
	snapshots kind = "snapshots"
)

// subject is the kind as the port has it.
func (k kind) subject() backend.SubjectType {
	if k == volumes {
		return backend.SubjectVolume
	}
	return backend.SubjectSnapshot
}

// meta is the content of meta.json. It says everything about an object, so that its
// folder can be read without the console.
type meta struct {
	Format       int                 `json:"format"`
	Kind         kind                `json:"kind"`
	Ref          string              `json:"ref"`
	Name         string              `json:"name"`
	Description  string              `json:"description,omitempty"`
	SizeGiB      int                 `json:"size_gib"`
	ExtendingTo  int                 `json:"extending_to_gib,omitempty"` // set before the file grows, cleared after
	Volume       string              `json:"volume,omitempty"`           // of a snapshot: the volume's ref
	Source       string              `json:"source,omitempty"`           // of a volume: the snapshot's ref
	Image        string              `json:"image,omitempty"`            // of a volume: the image's file name
	Project      string              `json:"project,omitempty"`
	Type         string              `json:"type,omitempty"`
	Zone         string              `json:"zone,omitempty"`
	Attached     bool                `json:"attached,omitempty"`
	Acknowledged bool                `json:"acknowledged,omitempty"`
	TakenAt      time.Time           `json:"taken_at,omitzero"`     // of a snapshot: its instant
	Held         time.Duration       `json:"held_ns,omitempty"`     // of a snapshot: how long it held servers' writes
	Checks       *storedChecks       `json:"checks,omitempty"`      // of a snapshot: what is known of its bytes
	Attachments  []attachment        `json:"attachments,omitempty"` // the servers that use it; of a volume one at most
	CreatedAt    time.Time           `json:"created_at"`
	Consistency  backend.Consistency `json:"consistency,omitempty"` // of a snapshot; empty: unknown
	Status       backend.Status      `json:"status"`
	Lock         *storedLock         `json:"lock,omitempty"`
	Failure      string              `json:"failure,omitempty"`
	Damage       *storedDamage       `json:"damage,omitempty"`        // Failure, where that is CodeDamaged
	FailureCause backend.Cause       `json:"failure_cause,omitempty"` // why the disk refused
	FailureOp    string              `json:"failure_op,omitempty"`    // what it refused, as in backend.Error
	Since        time.Time           `json:"since"`
}

// storedLock is a backend.Lock.
type storedLock struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`
}

func storeLock(l backend.Lock) *storedLock {
	if l.Until.IsZero() {
		return nil
	}
	return &storedLock{l.Until.UTC(), l.Reason, l.By, l.At.UTC()}
}

// lock is what storeLock stored.
func (m meta) lock() backend.Lock {
	if m.Lock == nil {
		return backend.Lock{}
	}
	return backend.Lock(*m.Lock)
}

// storedDamage is a backend.Error of the code damaged, without what a restart changes.
type storedDamage struct {
	Damage     backend.Damage `json:"kind"`
	Have, Want int64          // bytes
	Served     bool
}

var errNewerFormat = errors.New("made by a newer version of the console")

// validRef reports whether s is a UUID in its canonical form, and so safe as the name
// of a folder.
func validRef(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

// check refuses a ref, name or description that cannot be stored.
func (m meta) check() error {
	if !validRef(m.Ref) {
		return &backend.Error{Code: backend.CodeInvalid, Field: "ref", Why: backend.WhyNoUUID, Message: "not a UUID in lower case"}
	}
	return checkText(m.Name, m.Description)
}

// checkText refuses texts that are not UTF-8 or too long for meta.json.
func checkText(name, description string) error {
	for _, t := range []struct {
		field, text string
		limit       int
	}{{"name", name, maxNameChars}, {"description", description, maxDescriptionChars}} {
		if !utf8.ValidString(t.text) {
			return &backend.Error{Code: backend.CodeInvalid, Field: t.field, Why: backend.WhyNoUTF8, Message: "not UTF-8"}
		}
		if utf8.RuneCountInString(t.text) > t.limit {
			return &backend.Error{Code: backend.CodeInvalid, Field: t.field, Why: backend.WhyTooLong, WhyArg: strconv.Itoa(t.limit), Message: fmt.Sprintf("longer than %d characters", t.limit)}
		}
	}
	return nil
}

// readMeta reads dir/meta.json and checks that it describes the object k, ref. The
// error is errNewerFormat, or says what is wrong.
func readMeta(dir string, k kind, ref string) (meta, error) {
	var m meta
	f, err := disk{}.open(dir+"/"+metaFile, os.O_RDONLY)
	if err != nil {
		return m, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxMetaBytes))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("%s: %w", metaFile, err)
	}
	switch {
	case m.Format > metaFormat:
		return m, fmt.Errorf("%s: %w", dir, errNewerFormat)
	case m.Format != metaFormat || m.Kind != k || m.Ref != ref || m.SizeGiB <= 0:
		return m, fmt.Errorf("%s does not describe this object", metaFile)
	case m.Status != backend.Available && m.Status != backend.ErrorStatus && m.Status != backend.ErrorDeleting:
		return m, fmt.Errorf("%s has the status %q", metaFile, m.Status)
	}
	return m, nil
}

// createMeta writes m into a new file, which the caller syncs and closes.
func (d disk) createMeta(path string, m meta) (*os.File, error) {
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	f, err := d.create(path)
	if err != nil {
		return nil, err
	}
	if err := d.write(f, append(raw, '\n')); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// replaceMeta replaces the object's meta.json atomically and durably. After a crash
// the next Open removes the temporary file, which is in tmp/.
func (b *Backend) replaceMeta(l location, m meta) error {
	return b.withReserve(func() error { return b.writeMeta(l, m) })
}

func (b *Backend) writeMeta(l location, m meta) error {
	tmp := b.path("tmp", m.Ref+".meta")
	if err := b.disk.unlink(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := b.disk.createMeta(tmp, m)
	if err == nil {
		err = errors.Join(b.disk.sync(f), f.Close())
	}
	dir := b.objectDir(l, m)
	if err == nil {
		err = b.disk.rename(tmp, dir+"/"+metaFile)
	}
	if err != nil {
		_ = b.disk.unlink(tmp) // else the next replaceMeta or Open removes it
		return err
	}
	return b.disk.syncDir(dir)
}

// withFinalStatus returns m with a status that may be stored: work under way is
// forgotten by the next Open.
func (m meta) withFinalStatus() meta {
	if m.Status != backend.ErrorStatus && m.Status != backend.ErrorDeleting {
		m.Status = backend.Available
	}
	return m
}

// dataSizeGiB is the size of the data file in dir, or an error where it is not the
// described one. While it is not known how an extension ended, the file counts.
func (m meta) dataSizeGiB(dir string) (int, error) {
	fi, err := os.Lstat(dir + "/" + dataFile)
	switch {
	case err != nil:
		return 0, err
	case !fi.Mode().IsRegular():
		return 0, errors.New(dataFile + " is not a regular file")
	}
	n := fi.Size()
	if m.hasSize(n) {
		return int(n / gib), nil
	}
	return 0, fmt.Errorf("%s has %d bytes instead of %d GiB", dataFile, n, m.SizeGiB)
}

// hasSize reports whether the data file may have n bytes.
func (m meta) hasSize(n int64) bool {
	return n == int64(m.SizeGiB)*gib || m.ExtendingTo > 0 && n > int64(m.SizeGiB)*gib && n%gib == 0
}

// RenameVolume sets name and description. Errors: CodeInvalid, CodeNotFound,
// CodeConflict while it is being deleted, CodeDamaged without a folder, CodeNoSpace,
// CodeUnavailable.
func (b *Backend) RenameVolume(ctx context.Context, key backend.Key, name, description string) error {
	return b.rename(ctx, volumes, key, name, description)
}

// RenameSnapshot sets name and description. Errors: those of RenameVolume.
func (b *Backend) RenameSnapshot(ctx context.Context, key backend.Key, name, description string) error {
	return b.rename(ctx, snapshots, key, name, description)
}

func (b *Backend) rename(ctx context.Context, k kind, key backend.Key, name, description string) error {
	if err := checkText(name, description); err != nil {
		return err
	}
	return b.changeMeta(ctx, k, key, func(m *meta) bool {
		if m.Name == name && m.Description == description {
			return false
		}
		m.Name, m.Description = name, description
		return true
	})
}

// SetLock keeps a lock in meta.json. Errors: CodeNotFound, CodeConflict while it is being
// deleted, CodeDamaged without a folder, CodeNoSpace, CodeUnavailable.
func (b *Backend) SetLock(ctx context.Context, subject backend.SubjectType, key backend.Key, lock backend.Lock) error {
	k := volumes
	if subject == backend.SubjectSnapshot {
		k = snapshots
	}
	stored := storeLock(lock)
	return b.changeMeta(ctx, k, key, func(m *meta) bool {
		if m.Lock == stored || m.Lock != nil && stored != nil && *m.Lock == *stored {
			return false
		}
		m.Lock = stored
		return true
	})
}

// changeMeta changes what describes an object: its meta.json, then the index. change may
// be called twice, and reports whether anything differs.
func (b *Backend) changeMeta(ctx context.Context, k kind, key backend.Key, change func(m *meta) bool) error {
	o, unlock, err := b.lockObject(ctx, k, key)
	if err != nil {
		return err
	}
	defer unlock()
	m, l := b.metaOf(o)
	if m.Status == backend.Deleting {
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyDeleting, Message: "it is being deleted"}
	}
	if !change(&m) {
		return nil
	}
	if l != unpublished { // else publish writes it
		if err := b.replaceMeta(l, m.withFinalStatus()); err != nil {
			if d := b.inspect(o); d != nil {
				return d
			}
			return b.portError(err, overheadBytes)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&o.meta)
	return nil
}
