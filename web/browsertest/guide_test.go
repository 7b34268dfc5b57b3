package browsertest

import (
	"bytes"
	"context"
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

// scenarioGuide goes through the user guide from the beginning to the end, as it is
// written, and never loads a list again to see what became of a click.
func scenarioGuide(p *page) {
	volume, first, renamed := "guide-"+p.lang, "shot-"+p.lang, "renamed-"+p.lang
	p.Open("/")
	p.menuIsAt("Volume")
	p.createVolume(volume)
	p.snapshotOf(volume, first)

	p.menu("Block Snapshot")
	p.Wait("%s", By("heading", p.say.snapshots))
	p.menuIsAt("Block Snapshot")
	p.Mark()
	p.HasRow(first, "AVAILABLE", volume, p.say.clean)
	p.tick(first)
	p.Click("button", p.say.edit)
	p.Popup(p.say.editSnapshot)
	p.Fill("textbox", p.say.snapshotName, renamed)
	p.atBottomRight(p.say.edit)
	p.Click("button", p.say.edit)
	p.NoPopup()
	p.HasRow(renamed, "AVAILABLE")
	p.HasNoRow(first)

	// The row is still ticked after its morph.
	p.Wait("%s.querySelector('input').checked", RowOf(renamed))
	p.Click("button", p.say.remove)
	p.Popup(p.say.deleteSnapshot)
	p.Sees(renamed)
	p.atBottomRight(p.say.remove)
	p.Click("button", p.say.remove)
	p.NoPopup()
	p.HasNoRow(renamed)
	p.NotReloaded()
	p.Quiet("the guide")
	p.editVolume(volume)
}

// createVolume makes a volume in the popup of the Volume list.
func (p *page) createVolume(name string) {
	p.t.Helper()
	p.Mark()
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, name)
	p.Fill("textbox", p.say.size, "1")
	p.atBottomRight(p.say.create)
	p.Click("button", p.say.create)
	p.NoPopup()
	p.Told(name)
	p.HasRow(name, "AVAILABLE", "1 GiB")
	p.NotReloaded()
}

// snapshotOf takes a snapshot of the volume's row.
func (p *page) snapshotOf(volume, name string) {
	p.t.Helper()
	p.tick(volume)
	p.Click("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.Sees(volume)
	p.Sees(p.say.rule)
	p.Wait("all('note', null).some(n => n.textContent.includes(%s))", JS(p.say.warning))
	p.Wait("all('alert', null).length === 0 && all('checkbox', null).length === 0")
	p.Wait("/^[A-Za-z0-9-]{3,20}$/.test(%s.value)", By("textbox", p.say.snapshotName))
	p.Fill("textbox", p.say.snapshotName, name)
	p.atBottomRight(p.say.create)
	p.Click("button", p.say.create)
	p.NoPopup()
	p.Told(name)
}

// editVolume renames, extends and deletes the volume of a name.
func (p *page) editVolume(volume string) {
	p.t.Helper()
	renamed := volume + "-b"
	p.menu("Volume")
	p.tick(volume)
	p.Mark()
	p.Click("button", p.say.edit)
	p.Popup(p.say.editVolume)
	p.Fill("textbox", p.say.volumeName, renamed)
	p.Fill("textbox", p.say.description, "of the guide")
	p.Click("button", p.say.edit)
	p.NoPopup()
	p.HasRow(renamed)
	p.Click("button", p.say.extend)
	p.Popup(p.say.extendVolume)
	p.Fill("textbox", p.say.size, "3")
	p.Click("button", p.say.extend)
	p.NoPopup()
	p.HasRow(renamed, "AVAILABLE", "3 GiB")
	p.Click("button", p.say.remove)
	p.Popup(p.say.deleteVolume)
	p.Click("button", p.say.remove)
	p.NoPopup()
	p.HasNoRow(renamed)
	p.NotReloaded()
	p.Quiet("volume")
}

// menu follows an entry of the left menu.
func (p *page) menu(entry string) {
	p.t.Helper()
	at := p.At("one('link', " + JS(entry) + ", " + By("navigation", p.say.menu) + ")")
	p.Loads(ClickAt(at))
}

// menuIsAt checks that the current entry of the left menu, and no other, is marked.
func (p *page) menuIsAt(entry string) {
	p.t.Helper()
	p.Wait("(n => [...n.querySelectorAll('[aria-current]')].map(a => a.computedName + a.ariaCurrent).join() === %s)(%s)",
		JS(entry+"page"), By("navigation", p.say.menu))
}

// atBottomRight checks where the guide has the button of a popup.
func (p *page) atBottomRight(button string) {
	p.t.Helper()
	p.Wait(`((b, d) => b.left > d.left + d.width / 2 && d.right - b.right < 40 && d.bottom - b.bottom < 40)
		(%s.getBoundingClientRect(), root().getBoundingClientRect())`, By("button", button))
}

// plainGuide is the same walk without JavaScript.
func plainGuide(p *page) {
	volume, first, renamed := "plain-"+p.lang, "pshot-"+p.lang, "prenamed-"+p.lang
	p.Open(views.VolumesPath)
	p.menuIsAt("Volume")
	p.Follow("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, volume)
	p.Fill("textbox", p.say.size, "1")
	p.lands(p.Follow("button", p.say.create), views.VolumesPath)
	p.Told(volume)
	id := p.c.volumesNamed(volume)[0].ID
	p.c.volumeIs(id, models.Available)

	p.Open(views.VolumesPath)
	p.tick(volume)
	p.Follow("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.Sees(volume)
	p.Sees(p.say.rule)
	p.Sees(p.say.warning)
	p.Fill("textbox", p.say.snapshotName, first)
	p.lands(p.Follow("button", p.say.create), views.SnapshotsPath)
	shot := p.c.snapshotsNamed(first)[0].ID
	p.c.snapshotIs(shot, models.Available)

	p.menu("Block Snapshot")
	p.menuIsAt("Block Snapshot")
	p.HasRow(first, "AVAILABLE", volume)
	p.tick(first)
	p.Follow("button", p.say.edit)
	p.Popup(p.say.editSnapshot)
	p.Fill("textbox", p.say.snapshotName, renamed)
	p.lands(p.Follow("button", p.say.edit), views.SnapshotsPath)
	p.HasRow(renamed)
	p.tick(renamed)
	p.Follow("button", p.say.remove)
	p.Popup(p.say.deleteSnapshot)
	p.lands(p.Follow("button", p.say.remove), views.SnapshotsPath)
	p.Told(renamed)
	p.c.snapshotIs(shot, statusGone)
	p.menu("Block Snapshot")
	p.HasNoRow(renamed)
	p.plainVolume(volume, id)
}

// plainVolume renames, extends and deletes a volume without JavaScript.
func (p *page) plainVolume(volume, id string) {
	p.t.Helper()
	renamed := volume + "-b"
	p.menu("Volume")
	p.tick(volume)
	p.Follow("button", p.say.edit)
	p.Fill("textbox", p.say.volumeName, renamed)
	p.lands(p.Follow("button", p.say.edit), views.VolumesPath)
	p.tick(renamed)
	p.Follow("button", p.say.extend)
	p.Fill("textbox", p.say.size, "2")
	p.lands(p.Follow("button", p.say.extend), views.VolumesPath)
	p.c.until("the volume to have grown", func(ctx context.Context) bool {
		v, err := p.c.Store.Volumes.Volume(ctx, administrator, id)
		return err == nil && v.SizeGiB == 2 && v.Status == models.Available
	})
	p.menu("Volume")
	p.HasRow(renamed, "2 GiB")
	// Cancel leads back and changes nothing.
	p.tick(renamed)
	p.Follow("button", p.say.remove)
	p.lands(p.Follow("button", p.say.cancel), views.VolumesPath)
	p.tick(renamed)
	p.Follow("button", p.say.remove)
	p.lands(p.Follow("button", p.say.remove), views.VolumesPath)
	p.c.volumeIs(id, statusGone)
	p.menu("Volume")
	p.HasNoRow(renamed)
	p.Quiet("plain volume")
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
	for name, content := range map[string]string{"hello.raw": imageText, "disk.img": containerText, "packed.vmdk": "KDMV"} {
		if err := os.WriteFile(filepath.Join(images, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const containerText = "QFI\xfb\x00\x00\x00\x03"

// scenarioImages makes volumes of a raw image and, as raw bytes, of a qcow2 image.
func scenarioImages(p *page) {
	name := "image-" + p.lang
	p.Open(views.VolumesPath)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Pick(p.say.source, p.say.imageOption)
	p.Fill("textbox", p.say.volumeName, name)
	p.Fill("textbox", p.say.size, "1")
	p.Click("button", p.say.create)
	p.NoPopup()
	p.HasRow(name, "AVAILABLE")
	got := readStart(p.t, p.c.dataOf("volumes", p.c.volumesNamed(name)[0].ID), len(imageText))
	if string(got) != imageText {
		p.t.Errorf("the volume begins with %q", got)
	}
	p.Quiet("image")

	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Pick(p.say.source, p.say.containerOption)
	p.Fill("textbox", p.say.volumeName, name+"-q")
	p.Fill("textbox", p.say.size, "1")
	p.Click("button", p.say.create)
	p.Sees(p.say.container)
	p.Quiet("container", http.StatusUnprocessableEntity)
	p.Clean("container")
	p.Click("checkbox", p.say.raw)
	p.Click("button", p.say.create)
	p.NoPopup()
	p.HasRow(name+"-q", "AVAILABLE")
	if got := readStart(p.t, p.c.dataOf("volumes", p.c.volumesNamed(name + "-q")[0].ID), len(containerText)); string(got) != containerText {
		p.t.Errorf("the volume begins with %q", got)
	}
	p.Quiet("raw bytes")
}

// scenarioBytes restores a snapshot and compares the bytes.
func scenarioBytes(p *page) {
	name, old, fresh := "bytes-"+p.lang, "written before", "written after the snapshot"
	id := p.c.volume(name)
	writeAt(p.t, p.c.dataOf("volumes", id), old)
	shot := p.c.snapshot(id, name+"-s")
	writeAt(p.t, p.c.dataOf("volumes", id), fresh)

	p.Open(views.SnapshotsPath + "?q=" + url.QueryEscape(name))
	p.tick(name + "-s")
	p.Click("button", p.say.restore)
	p.Popup(p.say.newVolume)
	p.Sees(name + "-s")
	p.Wait("%s.value === '1'", By("textbox", p.say.size)) // the snapshot's
	p.Fill("textbox", p.say.volumeName, name+"-r")
	p.Click("button", p.say.create)
	p.NoPopup()
	p.menu("Volume")
	p.HasRow(name+"-r", "AVAILABLE")
	restored := p.c.volumesNamed(name + "-r")[0].ID
	sameBytes(p.t, p.c.dataOf("volumes", restored), p.c.dataOf("snapshots", shot))
	if got := readStart(p.t, p.c.dataOf("volumes", restored), len(old)); string(got) != old {
		p.t.Errorf("the restored volume begins with %q", got)
	}
	if got := readStart(p.t, p.c.dataOf("volumes", id), len(fresh)); string(got) != fresh {
		p.t.Errorf("the source begins with %q", got)
	}
	p.Quiet("restore")
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
