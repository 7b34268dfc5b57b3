// Package imageformat recognizes the files that hold a disk in another form than byte
// by byte. Names of formats are those that their makers use, and are shown to people.
package imageformat

import (
	"bytes"
	"errors"
	"io"
	"path"
	"strings"
)

// ISO is the one format whose bytes are the disk.
const ISO = "ISO 9660"

// magic is where a format writes what.
type magic struct {
	format string
	offset int64 // negative: from the end of the file
	bytes  string
}

// magics are all formats that qemu-img writes, and what such files are packed in. Those
// from the file's end come last: a disk may have had something else there.
var magics = []magic{
	{"QCOW2", 0, "QFI\xfb"}, {"QED", 0, "QED\x00"}, {"VHDX", 0, "vhdxfile"}, {"VHD", 0, "conectix"}, {"VDI", 64, "\x7f\x10\xda\xbe"},
	{"VMDK", 0, "KDMV"}, {"VMDK", 0, "COWD"}, {"VMDK", 0, "# Disk DescriptorFile"},
	{"Parallels", 0, "WithoutFreeSpace"}, {"Parallels", 0, "WithouFreSpacExt"}, {"Android sparse", 0, "\x3a\xff\x26\xed"},
	{"EWF", 0, "EVF\x09\x0d\x0a\xff\x00"}, {"WIM", 0, "MSWIM\x00\x00\x00"},
	{"gzip", 0, "\x1f\x8b\x08"}, {"bzip2", 0, "BZh"}, {"xz", 0, "\xfd7zXZ\x00"}, {"Zstandard", 0, "\x28\xb5\x2f\xfd"}, {"LZ4", 0, "\x04\x22\x4d\x18"},
	{"lzip", 0, "LZIP"}, {"lzop", 0, "\x89LZO\x00\r\n\x1a\n"}, {"ZIP", 0, "PK\x03\x04"}, {"7z", 0, "7z\xbc\xaf\x27\x1c"}, {"RAR", 0, "Rar!\x1a\x07"},
	{"tar", 257, "ustar"},
	{ISO, 32769, "CD001"}, {ISO, 32769, "BEA01"},
	{"VHD", -512, "conectix"}, {"DMG", -512, "koly"},
}

// Detect returns the format of a file of size bytes; empty: none is known, so it is the
// disk itself. The error is that of r.
func Detect(r io.ReaderAt, size int64) (string, error) {
	var found [32]byte
	for _, m := range magics {
		at, have := m.offset, found[:len(m.bytes)]
		if at < 0 {
			at += size
		}
		if at < 0 || at+int64(len(have)) > size {
			continue
		}
		if _, err := r.ReadAt(have, at); errors.Is(err, io.EOF) {
			continue // it shrank
		} else if err != nil {
			return "", err
		}
		if bytes.Equal(have, []byte(m.bytes)) {
			return m.format, nil
		}
	}
	return "", nil
}

// endings are those of files that are known not to be the disk itself.
var endings = map[string]string{
	".qcow2": "QCOW2", ".qcow": "QCOW2", ".qed": "QED", ".vmdk": "VMDK", ".vhdx": "VHDX", ".vhd": "VHD", ".vdi": "VDI", ".hdd": "Parallels",
	".gz": "gzip", ".tgz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard", ".lz4": "LZ4", ".zip": "ZIP", ".7z": "7z",
	".tar": "tar", ".ova": "tar", ".dmg": "DMG",
}

// OfName returns the format that the ending of a file name stands for; empty: none that
// is known here.
func OfName(name string) string { return endings[strings.ToLower(path.Ext(name))] }
