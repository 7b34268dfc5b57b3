package nbd

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// A revoked connection gets the answer to the request under way, and nothing that it sent
// after it is done. One that takes no answers ends all the same.
func TestExport_Revoke(t *testing.T) {
	t.Parallel()
	d := newFileDevice(t, 4*MaxRequest)
	entered, release := make(chan struct{}), make(chan struct{})
	var writes atomic.Int64
	d.Hook = func(op string) error {
		if op == "write" && writes.Add(1) == 1 {
			close(entered)
			<-release
		}
		return nil
	}
	e := NewExport("v", d, ExportOptions{})
	addr, _ := startServer(t, exportMap{"v": e}, func(s *Server) { s.StallTimeout = time.Hour })
	c, stuck := dialExport(t, addr, "v", true), dialExport(t, addr, "v", true)
	for range 4 {
		stuck.send(cmdRead, 0, 0, MaxRequest, nil)
	}
	data := randomBytes(4096)
	frame := append(requestFrame(request{kind: cmdWrite, cookie: 1, length: 4096}), data...)
	c.write(slices.Repeat(frame, 3))
	<-entered
	conns := e.connsMatching(nil)
	all := func(ConnStats) bool { return true }
	if ended := e.Revoke(100*time.Millisecond, all); len(ended) != 2 {
		t.Errorf("%d connections end, not 2", len(ended))
	}
	if ended := e.Revoke(100*time.Millisecond, all); len(ended) != 0 {
		t.Errorf("%d connections end twice", len(ended))
	}
	close(release)
	if a := c.receive(); a.errno != 0 || a.cookie != 1 {
		t.Error(a)
	}
	c.wantDisconnected()
	for _, c := range conns {
		<-c.done
	}
	if n := writes.Load(); n != 1 {
		t.Errorf("%d writes were done, 1 was under way", n)
	}
}
