// Package static has the files that pages refer to. Their URLs carry a hash of the
// content, so that browsers may cache them for ever. They are compressed at start.
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

// Prefix is the path of the files.
const Prefix = "/static/"

const hashLength = 12

//go:embed *.css *.js *.svg *.ico vendor/*.js vendor/LICENSE.htmx
var files embed.FS

// File is one file as it is served.
type File struct {
	Content     []byte
	Gzip        []byte // nil: compression gains less than a tenth
	ContentType string
	ETag        string
	Immutable   bool // the URL has the hash of the content
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

// URL is the URL of a file, such as /static/app.0123456789ab.css for app.css. It
// panics for an unknown name: names are literals, and tests render them all.
func URL(name string) string {
	a, ok := assets[name]
	if !ok {
		panic(fmt.Sprintf("static: no file %q", name))
	}
	return a.url
}

// Open finds the file at the path after Prefix. ok is false without the hash of the
// content, so that an old page never gets a new script.
func Open(address string) (f File, ok bool) {
	a, ok := hashed[address]
	if !ok {
		return File{}, false
	}
	f = a.file
	f.Immutable = true
	return f, true
}

// Favicon is the icon for /favicon.ico, which browsers request without a hash.
func Favicon() File { return assets["favicon.ico"].file }
