package crashtest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// object is what the console tells of a volume or snapshot.
type object struct {
	ID, Name, Status string
	SizeGiB          int `json:"size_gib"`
	Volume           struct{ ID string }
	file             bool
}

const gib = 1 << 30

// verify compares the console, its files and what was acknowledged. The bytes of
// an object are compared once, and at the end of all once more.
func (w *world) verify(everything bool) {
	w.t.Helper()
	states := map[string]apptest.Operation{}
	for _, o := range apptest.ReadAll[apptest.Operation](w.api, "/activity") {
		if states[o.ID].ID != "" {
			w.t.Errorf("operation %s is listed twice", o.ID)
		}
		states[o.ID] = o
		if w.operations[o.ID] == nil {
			w.t.Errorf("operation %s (%s) was not asked for", o.ID, o.Kind)
		}
	}
	for id, c := range w.operations {
		switch o := states[id]; {
		case o.State == "FAILED" && o.Error != "":
			// There is room for everything, and everything is asked in an order that works.
			w.t.Errorf("%s %s failed: %s", c.what, c.form, o.Error)
		case o.State != "SUCCEEDED":
			w.t.Errorf("%s %s is %s %q", c.what, c.form, o.State, o.Error)
		}
	}
	objects := map[string]map[string]*object{"volumes": w.listed("volumes"), "snapshots": w.listed("snapshots")}
	expected := 0
	for _, h := range w.hands {
		for _, x := range h.things {
			if x.deleted == nil {
				expected++
				w.verifyThing(x, objects[x.kind][x.id], everything)
			} else if o := objects[x.kind][x.id]; o != nil {
				w.t.Errorf("%s %s is deleted, and still %s", x.kind, x.id, o.Status)
			}
		}
	}
	if n := len(objects["volumes"]) + len(objects["snapshots"]); n != expected {
		w.t.Errorf("%d objects are listed, %d were made", n, expected)
	}
	for _, name := range []string{"tmp", "trash", "quarantine"} {
		wantFolder(w.t, w.p.Data, name)
	}
}

// wantFolder waits until a part of the data folder holds these names, and in tmp/ at most
// the checksums of a snapshot that are being computed.
func wantFolder(t *testing.T, data, folder string, want ...string) {
	t.Helper()
	var names []string
	defer func() {
		if t.Failed() {
			t.Logf("%s/ holds %v", folder, names)
		}
	}()
	apptest.Eventually(t, apptest.Patience, folder+"/ holds "+strings.Join(want, ", "), func() bool {
		names = slices.DeleteFunc(namesIn(t, data, folder), func(name string) bool {
			id, sums := strings.CutSuffix(name, ".sums")
			return sums && slices.Contains(namesIn(t, data, "snapshots"), id)
		})
		return slices.Equal(names, want)
	})
}

// listed are the rows of a list, each with its folder and each folder with its
// row.
func (w *world) listed(kind string) map[string]*object {
	w.t.Helper()
	path := views.VolumesPath
	if kind == "snapshots" {
		path = views.SnapshotsPath
	}
	rows := map[string]*object{}
	for _, o := range apptest.ReadAll[object](w.api, path+"?size=200") {
		if rows[o.ID] != nil {
			w.t.Errorf("%s %s is listed twice", kind, o.ID)
		}
		rows[o.ID] = &o
	}
	for _, id := range namesIn(w.t, w.p.Data, kind) {
		if rows[id] == nil {
			w.t.Errorf("%s/%s belongs to no row", kind, id)
			continue
		}
		rows[id].file = true
	}
	return rows
}

func namesIn(t *testing.T, data, folder string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(data, folder))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (w *world) verifyThing(x *thing, o *object, everything bool) {
	w.t.Helper()
	if o == nil {
		w.t.Errorf("%s %s (%s) was acknowledged and is not there", x.kind, x.id, x.made.form)
		return
	}
	name := x.made.form.Get("name")
	if n := len(x.renames); n > 0 {
		name = x.renames[n-1].form.Get("name")
	}
	if x.volume != nil && x.size < o.SizeGiB && o.SizeGiB <= x.volume.size {
		x.size = o.SizeGiB // killed while it was copied, and taken again after the volume was extended
	}
	if o.Status != "AVAILABLE" || !o.file || o.Name != name || o.SizeGiB != x.size {
		w.t.Errorf("%s %s is %+v, want %s of %d GiB with a file", x.kind, x.id, *o, name, x.size)
		return
	}
	if x.volume != nil && o.Volume.ID != x.volume.id {
		w.t.Errorf("snapshot %s is of volume %s, want %s", x.id, o.Volume.ID, x.volume.id)
	}
	w.verifyMeta(x, name)
	if x.looked && !everything {
		return
	}
	x.looked = true
	path := filepath.Join(w.p.Data, x.kind, x.id, "data.raw")
	info, err := os.Stat(path)
	if err != nil || info.Size() != int64(x.size)*gib {
		w.t.Errorf("%s: %v, %v; want %d GiB", path, info, err, x.size)
		return
	}
	if got, err := fingerprint(path); err != nil || got != x.bytes {
		w.t.Errorf("%s %s (%s) holds %s %v, want %s", x.kind, x.id, x.made.what, got, err, x.bytes)
	}
}

// verifyMeta: what the folder says of itself without the console.
func (w *world) verifyMeta(x *thing, name string) {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.p.Data, x.kind, x.id, "meta.json"))
	var m struct{ Ref, Name string }
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil || m.Ref != x.id || m.Name != name {
		w.t.Errorf("%s %s describes itself as %+v %v, want the name %s", x.kind, x.id, m, err, name)
	}
}

const (
	piece      = 64 << 10
	pieces     = 24 // written at once
	pieceRange = gib / piece
)

// scatter writes random pieces over the first GiB of a volume.
func scatter(path string, chance *rand.Rand) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	block := make([]byte, 2*piece)
	for range pieces {
		for i := 0; i < len(block); i += 8 {
			binary.LittleEndian.PutUint64(block[i:], chance.Uint64())
		}
		if _, err := f.WriteAt(block[:piece+chance.IntN(piece)], chance.Int64N(pieceRange-1)*piece); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return f.Close()
}

// nothing is the fingerprint of a file without a byte that is not zero.
var nothing = hex.EncodeToString(sha256.New().Sum(nil))

// fingerprint hashes the pieces of a file that are not zero, with their places:
// equal for equal bytes, wherever the holes are and however long the file.
func fingerprint(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	block, zero := make([]byte, piece), make([]byte, piece)
	for at := int64(0); ; {
		data, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, syscall.ENXIO) { // no data to the end
			return hex.EncodeToString(hash.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
		at = data / piece * piece
		n, err := f.ReadAt(block, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		copy(block[n:], zero)
		if string(block) != string(zero) {
			place := binary.LittleEndian.AppendUint64(nil, uint64(at))
			hash.Write(append(place, block...))
		}
		at += piece
	}
}
