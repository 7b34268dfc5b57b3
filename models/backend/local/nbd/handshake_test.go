package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
)

// exportMap is Exports with the same exports for every client.
type exportMap map[string]*Export

func (s exportMap) Open(_ context.Context, name string, _ Peer) (*Export, error) {
	if name == "broken" {
		return nil, errors.New("the folder is gone")
	}
	if e, ok := s[name]; ok {
		return e, nil
	}
	return nil, ErrUnknownExport
}

func (s exportMap) List(context.Context, Peer) []ExportInfo {
	var l []ExportInfo
	for name, e := range s {
		l = append(l, ExportInfo{name, e.opt.Description})
	}
	slices.SortFunc(l, func(a, b ExportInfo) int { return strings.Compare(a.Name, b.Name) })
	return l
}

func twoExports() exportMap {
	return exportMap{
		"a": NewExport("a", newMemDevice(1<<20), ExportOptions{Description: "first"}),
		"b": NewExport("b", newMemDevice(1<<20), ExportOptions{ReadOnly: true}),
	}
}

func TestOptions_Replies(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, twoExports(), nil)
	c := dial(t, addr)
	long := strings.Repeat("n", MaxName+1)
	for _, x := range []struct {
		name string
		opt  uint32
		data []byte
		want uint32
	}{
		{"unknown option", 77, []byte("data"), repErrUnsup},
		{"withdrawn PEEK_EXPORT", 4, nil, repErrUnsup},
		{"EXTENDED_HEADERS", 11, nil, repErrUnsup},
		{"STARTTLS without TLS", optStartTLS, nil, repErrPolicy},
		{"LIST with data", optList, []byte("x"), repErrInvalid},
		{"STRUCTURED_REPLY with data", optStructuredReply, []byte("x"), repErrInvalid},
		{"context before structure", optSetMetaContext, metaData("a", contextAllocation), repErrInvalid},
		{"GO without data", optGo, nil, repErrInvalid},
		{"GO with a name beyond the data", optGo, []byte{0, 0, 1, 0, 'a'}, repErrInvalid},
		{"GO with a huge name length", optGo, []byte{255, 255, 255, 255, 'a', 0, 0}, repErrInvalid},
		{"GO without count", optGo, appendString(nil, "a"), repErrInvalid},
		{"GO with fewer infos than counted", optGo, append(appendString(nil, "a"), 0, 9), repErrInvalid},
		{"GO with data behind", optGo, append(goData("a"), 1), repErrInvalid},
		{"GO with a long name", optGo, goData(long), repErrInvalid},
		{"GO with NUL", optGo, goData("a\x00"), repErrInvalid},
		{"GO with broken UTF-8", optGo, goData("\xff"), repErrInvalid},
		{"GO to nowhere", optGo, goData("c"), repErrUnknown},
		{"INFO of nothing", optInfo, goData(""), repErrUnknown},
		{"INFO of a broken one", optInfo, goData("broken"), repErrPolicy},
		{"STRUCTURED_REPLY", optStructuredReply, nil, repAck},
		{"STRUCTURED_REPLY again", optStructuredReply, nil, repAck},
		{"context of nothing", optSetMetaContext, metaData("c", contextAllocation), repErrUnknown},
		{"contexts cut off", optSetMetaContext, metaData("a", contextAllocation)[:12], repErrInvalid},
		{"many contexts announced", optListMetaContext, append(appendString(nil, "a"), 255, 255, 255, 255), repErrInvalid},
		{"an unknown context", optSetMetaContext, metaData("a", "qemu:dirty-bitmap:x"), repAck},
		{"INFO", optInfo, goData("a"), repAck},
		{"LIST", optList, nil, repAck},
	} {
		if _, final := c.option(x.opt, x.data); final != x.want {
			t.Errorf("%s: %#x, want %#x", x.name, final, x.want)
		}
	}
	if _, final := c.option(optAbort, nil); final != repAck {
		t.Errorf("ABORT: %#x", final)
	}
	c.wantDisconnected()
}

func TestOptionList(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, twoExports(), nil)
	replies, _ := dial(t, addr).option(optList, nil)
	if len(replies) != 2 || string(replies[0].data) != "\x00\x00\x00\x01afirst" || string(replies[1].data) != "\x00\x00\x00\x01b" {
		t.Errorf("%v", replies)
	}
}

func TestOptionInfo(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, twoExports(), nil)
	c := dial(t, addr)
	infos := map[uint16][]byte{}
	replies, _ := c.option(optInfo, goData("a", infoName, infoDescription, infoBlockSize, 999))
	for _, r := range replies {
		infos[binary.BigEndian.Uint16(r.data)] = r.data[2:]
	}
	if len(infos) != 4 || string(infos[infoName]) != "a" || string(infos[infoDescription]) != "first" {
		t.Errorf("%v", infos)
	}
	be := binary.BigEndian
	if e := infos[infoExport]; be.Uint64(e) != 1<<20 || be.Uint16(e[8:])&(flagReadOnly|flagSendDF) != 0 ||
		be.Uint16(e[8:])&(flagCanMultiConn|flagSendTrim|flagSendFastZero|flagSendCache|flagSendFUA) == 0 {
		t.Errorf("export %x", e)
	}
	if b := infos[infoBlockSize]; be.Uint32(b) != 1 || be.Uint32(b[4:]) != 4096 || be.Uint32(b[8:]) != MaxRequest {
		t.Errorf("block size %x", b)
	}
	c.option(optStructuredReply, nil)
	replies, _ = c.option(optInfo, goData("b"))
	if f := be.Uint16(replies[0].data[10:]); f&flagReadOnly == 0 || f&flagSendDF == 0 || f&(flagSendTrim|flagSendWriteZeroes) != 0 {
		t.Errorf("flags of a read-only export: %#x", f)
	}
}

func TestOptionMetaContext(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, twoExports(), nil)
	c := dial(t, addr)
	c.option(optStructuredReply, nil)
	for query, found := range map[string]int{"base:": 1, contextAllocation: 1, "base:other": 0, "x-ours:": 0} {
		if replies, final := c.option(optListMetaContext, metaData("a", query)); len(replies) != found || final != repAck {
			t.Errorf("LIST_META_CONTEXT %q: %v %#x", query, replies, final)
		}
	}
	if replies, _ := c.option(optListMetaContext, metaData("a")); len(replies) != 1 || string(replies[0].data[4:]) != contextAllocation {
		t.Errorf("LIST_META_CONTEXT of all: %v", replies)
	}
	if replies, _ := c.option(optSetMetaContext, metaData("a")); len(replies) != 0 {
		t.Errorf("SET_META_CONTEXT of none: %v", replies)
	}
	if replies, _ := c.option(optSetMetaContext, metaData("a", "x:y", contextAllocation)); len(replies) != 1 {
		t.Errorf("SET_META_CONTEXT: %v", replies)
	}
	// A context selected for one export does not apply to another.
	c.structured = true
	c.option(optGo, goData("b"))
	c.wantErrno(cmdBlockStatus, 0, 0, 4096, nil, eInval)
}

func TestOptionExportName(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, twoExports(), nil)
	c := dial(t, addr)
	c.write(optionFrame(optExportName, []byte("a")))
	if p := c.readN(10); binary.BigEndian.Uint64(p) != 1<<20 || p[9]&flagHasFlags == 0 {
		t.Errorf("%x", p)
	}
	c.wantErrno(cmdWrite, 0, 5, 3, []byte("abc"), 0)
	if a := c.roundTrip(cmdRead, 0, 4, 5, nil); !bytes.Equal(a.data, []byte("\x00abc\x00")) {
		t.Errorf("%q", a.data)
	}
	c.write(requestFrame(request{kind: cmdDisc}))
	c.wantDisconnected()

	c = dial(t, addr)
	c.write(optionFrame(optExportName, []byte("c")))
	c.wantDisconnected()
}

// A client without NBD_FLAG_C_NO_ZEROES gets 124 zeroes.
func TestOptionExportName_Zeroes(t *testing.T) {
	t.Parallel()
	addr, _ := startServer(t, twoExports(), nil)
	c := dialAs(t, addr, 0)
	c.write(optionFrame(optExportName, []byte("a")))
	if p := c.readN(134); !bytes.Equal(p[10:], make([]byte, 124)) {
		t.Errorf("%x", p)
	}
	c.wantErrno(cmdFlush, 0, 0, 0, nil, 0)
}
