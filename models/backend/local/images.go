package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"blockconsole/models/backend"
)

// Images lists the raw images that the administrator put into images/: regular
// files only, never through a link.
func (b *Backend) Images(ctx context.Context) ([]backend.Image, error) {
	if err := b.checkOpen(ctx); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(b.path("images"))
	if err != nil {
		return nil, &backend.Error{Code: backend.CodeUnavailable, Err: err}
	}
	var images []backend.Image
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || !fi.Mode().IsRegular() || !isImage(e.Name()) {
			continue // links, folders, and what went away while we looked
		}
		images = append(images, backend.Image{ID: e.Name(), Name: e.Name(), SizeBytes: fi.Size()})
	}
	return images, nil
}

func isImage(name string) bool {
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".raw") || strings.HasSuffix(name, ".img"))
}

// imageSource finds an image by its file name. It must fit into the volume but
// need not fill it.
func (b *Backend) imageSource(id string, sizeGiB int) (*source, error) {
	if strings.ContainsAny(id, "/\x00") || !isImage(id) {
		return nil, backend.ErrNotFound
	}
	path := b.path("images", id)
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, backend.ErrNotFound
	case err != nil:
		return nil, &backend.Error{Code: backend.CodeUnavailable, Err: err}
	case !fi.Mode().IsRegular():
		return nil, backend.ErrNotFound
	case fi.Size() > int64(sizeGiB)*gib:
		return nil, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: fmt.Sprintf("smaller than the image's %d bytes", fi.Size())}
	}
	return &source{path: path, size: fi.Size(), allocated: min(allocated(fi), fi.Size())}, nil
}
