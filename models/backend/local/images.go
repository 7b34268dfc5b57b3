package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/imageformat"
	"blockconsole/models/reserve"
)

// Images lists the images that the administrator put into images/; links are not
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
	listed := map[string]bool{}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || !fi.Mode().IsRegular() || !isImage(e.Name()) {
			continue // a link, a folder, or deleted meanwhile
		}
		listed[e.Name()] = true
		images = append(images, b.image(fi))
	}
	b.imageFormats.keep(listed)
	return images, nil
}

// image describes a file of images/.
func (b *Backend) image(fi os.FileInfo) backend.Image {
	i := backend.Image{ID: fi.Name(), Name: fi.Name(), SizeBytes: fi.Size()}
	switch named := imageformat.OfName(i.Name); {
	case !utf8.ValidString(i.Name) || strings.ContainsFunc(i.Name, unicode.IsControl): // a form could not send it
		i.ID, i.Unusable = strconv.Quote(i.Name), backend.BadName
		i.Name = i.ID
	case named != "":
		i.Format, i.Unusable = named, backend.BadFormat
	default:
		var err error
		if i.Format, err = b.imageFormats.detect(b.disk, b.path("images", i.Name), fi); err != nil {
			i.Unusable = backend.Unreadable
		}
	}
	return i
}

// diskEndings are those of files that are the disk itself.
var diskEndings = []string{".raw", ".img", ".iso"}

// isImage reports whether the name is one of an image, of which the ending decides.
func isImage(name string) bool {
	return !strings.HasPrefix(name, ".") && (slices.Contains(diskEndings, strings.ToLower(path.Ext(name))) || imageformat.OfName(name) != "")
}

// imageFormats remembers the formats of files that have not changed since.
type imageFormats struct {
	mu    sync.Mutex
	known map[string]knownFormat // by name
}

type knownFormat struct {
	file   os.FileInfo
	format string
}

// detect returns the format of the file at path, of which fi was read before. The error
// is that of reading it.
func (f *imageFormats) detect(d disk, path string, fi os.FileInfo) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if k, ok := f.known[fi.Name()]; ok && sameContent(k.file, fi) {
		return k.format, nil
	}
	file, err := d.open(path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer file.Close()
	format, err := imageformat.Detect(file, fi.Size())
	if err == nil {
		f.known[fi.Name()] = knownFormat{fi, format}
	}
	return format, err
}

// keep forgets the files that are not listed.
func (f *imageFormats) keep(listed map[string]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.known {
		if !listed[name] {
			delete(f.known, name)
		}
	}
}

// sameContent reports whether nobody seems to have changed a file between two looks.
func sameContent(before, now os.FileInfo) bool {
	return os.SameFile(before, now) && before.Size() == now.Size() && before.ModTime().Equal(now.ModTime())
}

// imageSource finds an image by its file name. Errors: CodeNotFound, CodeContainer
// unless raw, CodeInvalid where it is longer than the volume, CodeUnavailable.
func (b *Backend) imageSource(id string, raw bool, sizeGiB int) (source, error) {
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
	}
	switch i := b.image(fi); {
	case i.Unusable == backend.BadFormat, i.Format != "" && i.Format != backend.FormatISO && !raw:
		return source{}, &backend.Error{Code: backend.CodeContainer, Path: path, What: i.Format}
	case i.Unusable == backend.BadName:
		return source{}, backend.ErrNotFound
	case fi.Size() > int64(sizeGiB)*gib:
		return source{}, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhySmallerThanImage, WhyArg: strconv.FormatInt(fi.Size(), 10), Message: fmt.Sprintf("smaller than the image's %d bytes", fi.Size())}
	}
	return source{path: path, image: fi, size: fi.Size(), allocated: min(reserve.Allocated(fi), fi.Size())}, nil
}
