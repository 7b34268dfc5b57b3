package web

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"blockconsole/models"
	"blockconsole/views"
)

// walkGuide goes through the user guide from the beginning to the end, as it is
// written, and never loads a list again to see what became of a click.
func walkGuide(p *page) {
	volume, first, renamed := "guide-"+p.lang, "shot-"+p.lang, "renamed-"+p.lang
	p.open("/")
	p.menuIsAt("Volume")
	p.createVolume(volume)
	p.snapshotOf(volume, first)

	p.menu("Block Snapshot")
	p.wait("%s", by("heading", p.say.snapshots))
	p.menuIsAt("Block Snapshot")
	p.mark()
	p.hasRow(first, "AVAILABLE", volume, p.say.clean)
	p.tick(first)
	p.click("button", p.say.edit)
	p.popup(p.say.editSnapshot)
	p.fill("textbox", p.say.snapshotName, renamed)
	p.atBottomRight(p.say.edit)
	p.click("button", p.say.edit)
	p.noPopup()
	p.hasRow(renamed, "AVAILABLE")
	p.hasNoRow(first)

	// The row is still ticked after its morph.
	p.wait("%s.querySelector('input').checked", rowOf(renamed))
	p.click("button", p.say.remove)
	p.popup(p.say.deleteSnapshot)
	p.sees(renamed)
	p.atBottomRight(p.say.remove)
	p.click("button", p.say.remove)
	p.noPopup()
	p.hasNoRow(renamed)
	p.marked()
	p.quiet("the guide")
	p.editVolume(volume)
}

// createVolume makes a volume in the popup of the Volume list.
func (p *page) createVolume(name string) {
	p.t.Helper()
	p.mark()
	p.click("link", p.say.create)
	p.popup(p.say.newVolume)
	p.fill("textbox", p.say.volumeName, name)
	p.fill("textbox", p.say.size, "1")
	p.atBottomRight(p.say.create)
	p.click("button", p.say.create)
	p.noPopup()
	p.told(name)
	p.hasRow(name, "AVAILABLE", "1 GiB")
	p.marked()
}

// snapshotOf takes a snapshot of the volume's row.
func (p *page) snapshotOf(volume, name string) {
	p.t.Helper()
	p.tick(volume)
	p.click("button", p.say.createSnapshot)
	p.popup(p.say.newSnapshot)
	p.sees(volume)
	p.sees(p.say.rule)
	p.wait("all('note', null).some(n => n.textContent.includes(%s))", js(p.say.warning))
	p.wait("all('alert', null).length === 0 && all('checkbox', null).length === 0")
	p.wait("/^[A-Za-z0-9-]{3,20}$/.test(%s.value)", by("textbox", p.say.snapshotName))
	p.fill("textbox", p.say.snapshotName, name)
	p.atBottomRight(p.say.create)
	p.click("button", p.say.create)
	p.noPopup()
	p.told(name)
}

// editVolume renames, extends and deletes the volume of a name.
func (p *page) editVolume(volume string) {
	p.t.Helper()
	renamed := volume + "-b"
	p.menu("Volume")
	p.tick(volume)
	p.mark()
	p.click("button", p.say.edit)
	p.popup(p.say.editVolume)
	p.fill("textbox", p.say.volumeName, renamed)
	p.fill("textbox", p.say.description, "of the guide")
	p.click("button", p.say.edit)
	p.noPopup()
	p.hasRow(renamed)
	p.click("button", p.say.extend)
	p.popup(p.say.extendVolume)
	p.fill("textbox", p.say.size, "3")
	p.click("button", p.say.extend)
	p.noPopup()
	p.hasRow(renamed, "AVAILABLE", "3 GiB")
	p.click("button", p.say.remove)
	p.popup(p.say.deleteVolume)
	p.click("button", p.say.remove)
	p.noPopup()
	p.hasNoRow(renamed)
	p.marked()
	p.quiet("volume")
}

// menu follows an entry of the left menu.
func (p *page) menu(entry string) {
	p.t.Helper()
	at := p.at("one('link', " + js(entry) + ", " + by("navigation", p.say.menu) + ")")
	p.loads(clickAt(at))
}

// menuIsAt checks that the current entry of the left menu, and no other, is marked.
func (p *page) menuIsAt(entry string) {
	p.t.Helper()
	p.wait("(n => [...n.querySelectorAll('[aria-current]')].map(a => a.computedName + a.ariaCurrent).join() === %s)(%s)",
		js(entry+"page"), by("navigation", p.say.menu))
}

// atBottomRight checks where the guide has the button of a popup.
func (p *page) atBottomRight(button string) {
	p.t.Helper()
	p.wait(`((b, d) => b.left > d.left + d.width / 2 && d.right - b.right < 40 && d.bottom - b.bottom < 40)
		(%s.getBoundingClientRect(), root().getBoundingClientRect())`, by("button", button))
}

// plainGuide is the same walk without JavaScript.
func plainGuide(p *page) {
	volume, first, renamed := "plain-"+p.lang, "pshot-"+p.lang, "prenamed-"+p.lang
	p.open(views.VolumesPath)
	p.menuIsAt("Volume")
	p.follow("link", p.say.create)
	p.popup(p.say.newVolume)
	p.fill("textbox", p.say.volumeName, volume)
	p.fill("textbox", p.say.size, "1")
	p.lands(p.follow("button", p.say.create), views.VolumesPath)
	p.told(volume)
	id := p.w.volumesNamed(p.t, volume)[0].ID
	p.w.volumeIs(p.t, id, models.Available)

	p.open(views.VolumesPath)
	p.tick(volume)
	p.follow("button", p.say.createSnapshot)
	p.popup(p.say.newSnapshot)
	p.sees(volume)
	p.sees(p.say.rule)
	p.sees(p.say.warning)
	p.fill("textbox", p.say.snapshotName, first)
	p.lands(p.follow("button", p.say.create), views.SnapshotsPath)
	shot := p.w.snapshotsNamed(p.t, first)[0].ID
	p.w.snapshotIs(p.t, shot, models.Available)

	p.menu("Block Snapshot")
	p.menuIsAt("Block Snapshot")
	p.hasRow(first, "AVAILABLE", volume)
	p.tick(first)
	p.follow("button", p.say.edit)
	p.popup(p.say.editSnapshot)
	p.fill("textbox", p.say.snapshotName, renamed)
	p.lands(p.follow("button", p.say.edit), views.SnapshotsPath)
	p.hasRow(renamed)
	p.tick(renamed)
	p.follow("button", p.say.remove)
	p.popup(p.say.deleteSnapshot)
	p.lands(p.follow("button", p.say.remove), views.SnapshotsPath)
	p.told(renamed)
	p.w.snapshotIs(p.t, shot, statusGone)
	p.menu("Block Snapshot")
	p.hasNoRow(renamed)
	p.plainVolume(volume, id)
}

// plainVolume renames, extends and deletes a volume without JavaScript.
func (p *page) plainVolume(volume, id string) {
	p.t.Helper()
	renamed := volume + "-b"
	p.menu("Volume")
	p.tick(volume)
	p.follow("button", p.say.edit)
	p.fill("textbox", p.say.volumeName, renamed)
	p.lands(p.follow("button", p.say.edit), views.VolumesPath)
	p.tick(renamed)
	p.follow("button", p.say.extend)
	p.fill("textbox", p.say.size, "2")
	p.lands(p.follow("button", p.say.extend), views.VolumesPath)
	p.w.until(p.t, "the volume to have grown", func(ctx ctx) bool {
		v, err := p.w.store.Volumes.Volume(ctx, administrator, id)
		return err == nil && v.SizeGiB == 2 && v.Status == models.Available
	})
	p.menu("Volume")
	p.hasRow(renamed, "2 GiB")
	// Cancel leads back and changes nothing.
	p.tick(renamed)
	p.follow("button", p.say.remove)
	p.lands(p.follow("button", p.say.cancel), views.VolumesPath)
	p.tick(renamed)
	p.follow("button", p.say.remove)
	p.lands(p.follow("button", p.say.remove), views.VolumesPath)
	p.w.volumeIs(p.t, id, statusGone)
	p.menu("Volume")
	p.hasNoRow(renamed)
	p.quiet("plain volume")
}

// lands checks that a click led to a list.
func (p *page) lands(status int, path string) {
	p.t.Helper()
	if at := now[string](p, "location.pathname"); status != http.StatusOK || at != path {
		p.t.Fatalf("status %d at %s, want %s\n%s", status, at, path, now[string](p, "document.body.innerText.slice(0, 900)"))
	}
}

const imageText = "hello from an image"

func writeImage(t *testing.T, folder string) {
	t.Helper()
	images := filepath.Join(folder, "images")
	if err := os.MkdirAll(images, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(images, "hello.raw"), []byte(imageText), 0o600); err != nil {
		t.Fatal(err)
	}
}

// walkImages makes a volume of a raw image.
func walkImages(p *page) {
	name := "image-" + p.lang
	p.open(views.VolumesPath)
	p.click("link", p.say.create)
	p.popup(p.say.newVolume)
	p.pickOption(p.say.source, p.say.imageOption)
	p.fill("textbox", p.say.volumeName, name)
	p.fill("textbox", p.say.size, "1")
	p.click("button", p.say.create)
	p.noPopup()
	p.hasRow(name, "AVAILABLE")
	got := readStart(p.t, p.w.dataOf("volumes", p.w.volumesNamed(p.t, name)[0].ID), len(imageText))
	if string(got) != imageText {
		p.t.Errorf("the volume begins with %q", got)
	}
	p.quiet("image")
}

// walkBytes restores a snapshot and compares the bytes.
func walkBytes(p *page) {
	name, old, fresh := "bytes-"+p.lang, "written before", "written after the snapshot"
	id := p.w.volume(p.t, name)
	writeAt(p.t, p.w.dataOf("volumes", id), old)
	shot := p.w.snapshot(p.t, id, name+"-s")
	writeAt(p.t, p.w.dataOf("volumes", id), fresh)

	p.open(views.SnapshotsPath + "?q=" + url.QueryEscape(name))
	p.tick(name + "-s")
	p.click("button", p.say.restore)
	p.popup(p.say.newVolume)
	p.sees(name + "-s")
	p.wait("%s.value === '1'", by("textbox", p.say.size)) // the snapshot's
	p.fill("textbox", p.say.volumeName, name+"-r")
	p.click("button", p.say.create)
	p.noPopup()
	p.menu("Volume")
	p.hasRow(name+"-r", "AVAILABLE")
	restored := p.w.volumesNamed(p.t, name+"-r")[0].ID
	sameBytes(p.t, p.w.dataOf("volumes", restored), p.w.dataOf("snapshots", shot))
	if got := readStart(p.t, p.w.dataOf("volumes", restored), len(old)); string(got) != old {
		p.t.Errorf("the restored volume begins with %q", got)
	}
	if got := readStart(p.t, p.w.dataOf("volumes", id), len(fresh)); string(got) != fresh {
		p.t.Errorf("the source begins with %q", got)
	}
	p.quiet("restore")
}

func writeAt(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, offset := range []int64{0, 5 << 20, 1<<30 - 64} {
		if _, err := file.WriteAt([]byte(text), offset); err != nil {
			t.Fatal(err)
		}
	}
}

func readStart(t *testing.T, path string, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(openRead(t, path), b); err != nil {
		t.Fatal(err)
	}
	return b
}

// sameBytes compares two sparse files: whatever one of them has, the other must
// have too.
func sameBytes(t *testing.T, a, b string) {
	t.Helper()
	left, right := openRead(t, a), openRead(t, b)
	sizes := [2]int64{}
	for i, file := range []*os.File{left, right} {
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		sizes[i] = info.Size()
	}
	if sizes[0] != sizes[1] {
		t.Fatalf("%s has %d bytes, %s %d", a, sizes[0], b, sizes[1])
	}
	sameWhereData(t, left, right)
	sameWhereData(t, right, left)
}

func openRead(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return file
}

// seekData is lseek's SEEK_DATA; where a file system knows no holes, all is data.
const seekData = 3

func sameWhereData(t *testing.T, file, other *os.File) {
	t.Helper()
	one, two := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; at += int64(len(one)) {
		next, err := file.Seek(at, seekData)
		if err != nil { // no data any more
			return
		}
		at = next
		n, errOne := file.ReadAt(one, at)
		m, errTwo := other.ReadAt(two, at)
		if n != m || !bytes.Equal(one[:n], two[:m]) || fmt.Sprint(errOne) != fmt.Sprint(errTwo) {
			t.Fatalf("%s and %s differ near byte %d", file.Name(), other.Name(), at)
		}
		if errOne != nil {
			return
		}
	}
}
