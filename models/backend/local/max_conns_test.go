package local

import "testing"

// Connections, three files each, and the volumes' files never have more than there is,
// also when there are twice as many volumes later.
func TestMaxConns(t *testing.T) {
	for files := 16; files < 100_000; files += 1 + files/20 {
		for _, volumes := range []int{0, 1, 50, 400} {
			conns := maxConns(files, volumes)
			if conns < 1 || conns > 1024 || conns > 1 && 3*conns+2*volumes > files {
				t.Errorf("%d files, %d volumes: %d connections", files, volumes, conns)
			}
		}
	}
	if maxConns(0, 5) != 0 {
		t.Error("without a bound there is one")
	}
	if got := maxConns(10_000, 3); got != 1024 {
		t.Errorf("with many files there are %d connections", got)
	}
}
