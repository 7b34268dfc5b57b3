//go:build linux

package local

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"blockconsole/models/backend"
)

func TestImages(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := open(t, Options{Dir: memDir(t)})
	images := b.path("images")
	writeFile(t, images, "disk.raw", "raw bytes")
	writeFile(t, images, "disk.img", "img bytes")
	writeFile(t, images, "notes.txt", "x")
	writeFile(t, images, ".hidden.raw", "x")
	writeFile(t, images, "folder.raw/x", "x")
	if err := os.Symlink("/etc/passwd", images+"/link.raw"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(images+"/pipe.raw", 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, images, "large.raw", "")
	if err := os.Truncate(images+"/large.raw", gib+1); err != nil {
		t.Fatal(err)
	}
	list, err := b.Images(ctx)
	if err != nil || len(list) != 3 || list[0] != (backend.Image{ID: "disk.img", Name: "disk.img", SizeBytes: 9}) {
		t.Fatalf("%+v %v", list, err)
	}
	for _, id := range []string{"link.raw", "pipe.raw", "folder.raw", "notes.txt", ".hidden.raw", "../images/disk.raw", "/etc/passwd.raw", "none.raw", "a\x00.raw"} {
		if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1, Image: id}); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	var invalid *backend.Error
	if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1, Image: "large.raw"}); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "size_gib" {
		t.Errorf("an image that does not fit: %v", err)
	}
	v, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 2, Image: "large.raw"})
	if err != nil || v.Image != "large.raw" {
		t.Errorf("%+v %v", v, err)
	}
	settle(t, b)
	if fi, err := os.Stat(b.path("volumes", v.Ref, dataFile)); err != nil || fi.Size() != 2*gib {
		t.Errorf("%v %v", fi, err)
	}
}

// TestImages_Formats: the ending of the name decides. What is no disk itself needs Raw
// or is offered to nobody, and says why.
func TestImages_Formats(t *testing.T) {
	t.Parallel()
	b := open(t, Options{Dir: memDir(t)})
	iso := string(make([]byte, 32769)) + "CD001" + string(make([]byte, 4096))
	qcow2 := "QFI\xfb\x00\x00\x00\x03"
	for name, content := range map[string]string{
		"a.img": qcow2, "b.raw": qcow2, "c.iso": iso, "d.img": iso, "e.qcow2": qcow2, "f.img.zst": "x", "g.IMG": "bytes",
		"line\nbreak.img": "bytes", "not\xffutf8.raw": "bytes", "tab\t.raw": "bytes", " 이미지 1.img": "bytes",
	} {
		writeFile(t, b.path("images"), name, content)
	}
	want := map[string]backend.Image{
		" 이미지 1.img": {}, "a.img": {Format: "QCOW2"}, "b.raw": {Format: "QCOW2"}, "c.iso": {Format: backend.FormatISO}, "d.img": {Format: backend.FormatISO},
		"e.qcow2": {Format: "QCOW2", Unusable: backend.BadFormat}, "f.img.zst": {Format: "Zstandard", Unusable: backend.BadFormat}, "g.IMG": {},
		`"line\nbreak.img"`: {Unusable: backend.BadName}, `"not\xffutf8.raw"`: {Unusable: backend.BadName}, `"tab\t.raw"`: {Unusable: backend.BadName},
	}
	for range 2 { // the second list knows the formats already
		list, err := b.Images(t.Context())
		if err != nil || len(list) != len(want) {
			t.Fatalf("%+v %v", list, err)
		}
		for _, i := range list {
			w, ok := want[i.ID]
			if !ok || i.Name != i.ID || i.Format != w.Format || i.Unusable != w.Unusable {
				t.Errorf("%+v, want %+v", i, w)
			}
		}
	}
	for id, image := range want {
		for _, raw := range []bool{false, true} {
			_, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1, Image: id, Raw: raw})
			switch container := backend.AsError(err, backend.CodeContainer); {
			case image.Unusable != "" && err == nil:
				t.Errorf("%s raw %t: made of what cannot be used", id, raw)
			case image.Unusable == "" && image.Format == "QCOW2" && !raw && (container == nil || container.What != "QCOW2"):
				t.Errorf("%s: %v", id, err)
			case image.Unusable == "" && (image.Format != "QCOW2" || raw) && err != nil:
				t.Errorf("%s raw %t: %v", id, raw, err)
			}
		}
	}
	settle(t, b)
	// A file that is written anew under its name is looked at again.
	if err := os.WriteFile(b.path("images", "a.img"), []byte("bytes, not a container"), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := b.Images(t.Context()); err != nil || list[1].ID != "a.img" || list[1].Format != "" {
		t.Errorf("%+v %v", list, err)
	}
}
