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
