package nbd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"testing"
)

// singleExport is Exports with a single export for everybody.
type singleExport struct{ export *Export }

func (o singleExport) Open(_ context.Context, name string, _ Peer) (*Export, error) {
	if name != o.export.Name() {
		return nil, ErrUnknownExport
	}
	return o.export, nil
}

func (o singleExport) List(context.Context, Peer) []ExportInfo {
	return []ExportInfo{{Name: o.export.Name(), Description: o.export.opt.Description}}
}

// TestBenchServer is the server of docs/nbd-bench.sh: it exports the file that
// the environment names until it is interrupted.
func TestBenchServer(t *testing.T) {
	path := os.Getenv("BLOCKCONSOLE_NBD_BENCH_FILE")
	if path == "" {
		t.Skip("only for docs/nbd-bench.sh")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("BLOCKCONSOLE_NBD_BENCH_PORT"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := &Server{Exports: singleExport{NewExport("", NewFileDevice(f), ExportOptions{OnError: func(op string, err error) { fmt.Println(op, err) }})}}
	if err := s.Serve(ctx, l); err != ErrServerClosed {
		t.Error(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
