package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"blockconsole/models/backend"
)

// Images lists the raw images that the administrator put into images/; links are not
// followed. Errors: CodeUnavailable.
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
			continue // a link, a folder, or deleted meanwhile
		}
		images = append(images, backend.Image{ID: e.Name(), Name: e.Name(), SizeBytes: fi.Size()})
	}
	return images, nil
}

func isImage(name string) bool {
	return !strings.HasPrefix(name, ".") && (strings.HasSuffix(name, ".raw") || strings.HasSuffix(name, ".img"))
}

// imageSource finds an image by its file name. Errors: CodeNotFound, CodeInvalid where
// it is longer than the volume, CodeUnavailable.
func (b *Backend) imageSource(id string, sizeGiB int) (source, error) {
	if strings.ContainsAny(id, "/\x00") || !isImage(id) {
		return source{}, backend.ErrNotFound
	}
	path := b.path("images", id)
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return source{}, backend.ErrNotFound
	case err != nil:
		return source{}, &backend.Error{Code: backend.CodeUnavailable, Err: err}
	case !fi.Mode().IsRegular():
		return source{}, backend.ErrNotFound
	case fi.Size() > int64(sizeGiB)*gib:
		return source{}, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhySmallerThanImage, WhyArg: strconv.FormatInt(fi.Size(), 10), Message: fmt.Sprintf("smaller than the image's %d bytes", fi.Size())}
	}
	return source{path: path, size: fi.Size(), allocated: min(allocated(fi), fi.Size())}, nil
}
