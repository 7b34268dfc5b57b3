package app

import (
	"context"
	"fmt"
	"os"
	"syscall"
)

// descriptors is how many open files each part of the console may have, so that no part
// can take those of another.
type descriptors struct {
	Limit    int // of the process
	Open     int // standard streams, folder, listeners: what is open before the parts
	Database int
	Workers  int // copies, listings of folders, calls to a cloud, metrics
	Pages    int // connections of browsers and programs
	NBD      int // connections of servers, and the files of volumes
}

const (
	leastDescriptors  = 64
	scarceDescriptors = 1024 // fewer are worth a word in the log
	spareDescriptors  = 6    // for connections that are accepted to be refused, and the like

	databaseDescriptors = 22     // of a pool of 8 connections
	workerDescriptors   = 64     // of 2 copies and 8 operations
	maxPages            = 10_000 // more connections would be a lot of memory
)

// divideDescriptors divides the limit of open files. Without NBD the pages have its part.
func divideDescriptors(limit, open int, nbd bool) (descriptors, error) {
	if limit < leastDescriptors {
		return descriptors{}, fmt.Errorf("this process may have %d files open, and needs %d; raise the limit with ulimit -n, or with LimitNOFILE in the unit of systemd",
			limit, leastDescriptors)
	}
	d := descriptors{Limit: limit, Open: open + spareDescriptors}
	rest := limit - d.Open
	d.Database = min(max(rest/4, 8), databaseDescriptors)
	d.Workers = min(max(rest/6, 8), workerDescriptors)
	rest -= d.Database + d.Workers
	if d.Pages = rest; nbd {
		d.Pages = rest / 2
		d.NBD = rest - d.Pages
	}
	d.Pages = min(d.Pages, maxPages)
	return d, nil
}

// databaseConns is how many connections the database's pool may have: of SQLite each has
// two files open, and all together a few more.
func (d descriptors) databaseConns() int { return (d.Database - 4) / 2 }

// shareDescriptors reads the limit of open files and divides it. The Go runtime has
// raised it as far as it may be raised.
func (m *Main) shareDescriptors(context.Context) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("cannot read the limit of open files: %w", err)
	}
	const unlimited = 1 << 20
	d, err := divideDescriptors(int(min(limit.Cur, unlimited)), openFiles(), m.Config.NBDAddr != "" && m.Config.Backend == "local")
	if err != nil {
		return err
	}
	m.descriptors = d
	attrs := []any{"limit", d.Limit, "database", d.Database, "workers", d.Workers, "pages", d.Pages, "nbd", d.NBD}
	if d.Limit < scarceDescriptors {
		m.Log.Warn("few files may be open at once, which bounds pages and NBD connections", append(attrs, "advice", "ulimit -n 65536, or LimitNOFILE=65536 in the unit of systemd")...)
		return nil
	}
	m.Log.Info("open files", attrs...)
	return nil
}

// openFiles counts the open files of this process; a guess where the system does not
// list them.
func openFiles() int {
	const guess = 12
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		return guess
	}
	return len(entries)
}
