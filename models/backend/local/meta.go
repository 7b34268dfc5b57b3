package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"blockconsole/models/backend"
)

const (
	dataFile            = "data.raw"
	metaFile            = "meta.json"
	metaFormat          = 1
	maxNameChars        = 255
	maxDescriptionChars = 4096
	maxMetaBytes        = 1 << 20 // far more than a name and a description can take
)

// kind tells volumes and snapshots apart; its value is the name of the folder.
type kind string

const (
	volumes   kind = "volumes"
	snapshots kind = "snapshots"
)

// meta is the content of meta.json: all that is known of an object, so that its
// folder can be read without the console.
type meta struct {
	Format       int            `json:"format"`
	Kind         kind           `json:"kind"`
	Ref          string         `json:"ref"`
	Name         string         `json:"name"`
	Description  string         `json:"description,omitempty"`
	SizeGiB      int            `json:"size_gib"`
	ExtendingTo  int            `json:"extending_to_gib,omitempty"` // set before the file grows, cleared after
	Volume       string         `json:"volume,omitempty"`           // of a snapshot: the volume's ref
	Source       string         `json:"source,omitempty"`           // of a volume: the snapshot's ref
	Image        string         `json:"image,omitempty"`            // of a volume: the image's file name
	Project      string         `json:"project,omitempty"`
	Type         string         `json:"type,omitempty"`
	Zone         string         `json:"zone,omitempty"`
	Attached     bool           `json:"attached,omitempty"`
	Acknowledged bool           `json:"acknowledged,omitempty"`
	Held         time.Duration  `json:"held_ns,omitempty"`     // of a snapshot: how long servers' writes were held for it
	Attachments  []attachment   `json:"attachments,omitempty"` // of a volume: the server that uses it
	CreatedAt    time.Time      `json:"created_at"`
	Status       backend.Status `json:"status"`
	Failure      string         `json:"failure,omitempty"`
	Since        time.Time      `json:"since"`
}

var errNewerFormat = errors.New("made by a newer version of the console")

// validRef reports whether s is a UUID in its canonical form, and so safe as the
// name of a folder.
func validRef(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// checkText refuses what meta.json could not give back as it was.
func checkText(name, description string) error {
	for _, t := range []struct {
		field, text string
		limit       int
	}{{"name", name, maxNameChars}, {"description", description, maxDescriptionChars}} {
		if !utf8.ValidString(t.text) {
			return &backend.Error{Code: backend.CodeInvalid, Field: t.field, Message: "not UTF-8"}
		}
		if utf8.RuneCountInString(t.text) > t.limit {
			return &backend.Error{Code: backend.CodeInvalid, Field: t.field, Message: fmt.Sprintf("longer than %d characters", t.limit)}
		}
	}
	return nil
}

// readMeta reads and checks dir/meta.json of an object that should be k and ref.
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

// createMeta writes m into a new file and syncs nothing.
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

// replaceMeta puts m in the place of the object's meta.json, atomically. The
// temporary file lies in tmp/, where the next Open finds it after a crash.
func (b *Backend) replaceMeta(p location, m meta) error {
	tmp := b.path("tmp", m.Ref+".meta")
	if err := b.disk.unlink(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := b.disk.createMeta(tmp, m)
	if err == nil {
		err = errors.Join(b.disk.sync(f), f.Close())
	}
	dir := b.objectDir(p, m)
	if err == nil {
		err = b.disk.rename(tmp, dir+"/"+metaFile)
	}
	if err != nil {
		_ = b.disk.unlink(tmp) // the next replaceMeta or Open removes it otherwise
		return err
	}
	return b.disk.syncDir(dir)
}
