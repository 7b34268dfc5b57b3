// Package static holds the files that pages refer to. Every file has an address
// with a hash of its content, so that browsers may keep it for ever, and is
// compressed once at start.
package static

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Prefix is where the files are served.
const Prefix = "/static/"

const hashLength = 12

//go:embed *.css *.js *.svg *.ico vendor/*.js vendor/LICENSE.htmx
var files embed.FS

// File is one file as it is served.
type File struct {
	Content     []byte
	Gzip        []byte // nil where compression gains nothing
	ContentType string
	ETag        string
	Immutable   bool // the address carried the right hash
}

type asset struct {
	file File
	url  string
}

var (
	assets = load()            // by name, such as vendor/htmx.min.js
	hashed = byAddress(assets) // by the part of the address after Prefix
)

var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".ico":  "image/x-icon",
	".htmx": "text/plain; charset=utf-8",
}

func load() map[string]*asset {
	all := map[string]*asset{}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		a, err := newAsset(name, content)
		if err != nil {
			return err
		}
		all[name] = a
		return nil
	})
	if err != nil {
		panic("static: " + err.Error())
	}
	return all
}

func newAsset(name string, content []byte) (*asset, error) {
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:])[:hashLength]
	ext := path.Ext(name)
	a := &asset{
		file: File{Content: content, ContentType: contentTypes[ext], ETag: `"` + hash + `"`},
		url:  Prefix + strings.TrimSuffix(name, ext) + "." + hash + ext,
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if packed.Len() < len(content)*9/10 {
		a.file.Gzip = packed.Bytes()
	}
	return a, nil
}

func byAddress(all map[string]*asset) map[string]*asset {
	m := make(map[string]*asset, len(all))
	for _, a := range all {
		m[strings.TrimPrefix(a.url, Prefix)] = a
	}
	return m
}

// URL is the address of a file, such as /static/app.0123456789ab.css for
// app.css. It panics on a name that does not exist: every name is a literal, and
// a test renders them all.
func URL(name string) string {
	a, ok := assets[name]
	if !ok {
		panic(fmt.Sprintf("static: no file %q", name))
	}
	return a.url
}

// Open finds the file at the address after Prefix. Only addresses with the right
// hash exist; ok is false for all others, so an old page never gets a new
// script under the old name.
func Open(address string) (f File, ok bool) {
	a, ok := hashed[address]
	if !ok {
		return File{}, false
	}
	f = a.file
	f.Immutable = true
	return f, true
}

// Favicon is the icon for /favicon.ico, whose address browsers guess and which
// therefore has no hash.
func Favicon() File { return assets["favicon.ico"].file }
