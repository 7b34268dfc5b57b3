package nbd

import "testing"

// takeAll takes pieces for both shares until there are no more, and returns how many.
func takeAll(m *memory, n int64, a, b *share) (pieces int64) {
	for m.tryTake(n, a, b) {
		pieces++
	}
	return pieces
}

// Neither an export nor an address gets more of the memory than it leaves to others.
func TestMemory_Shares(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	m := memory{max: 256 * mib}
	var export, addr share
	if n := takeAll(&m, mib, &export, &addr); n != 128 {
		t.Errorf("the first gets %d MiB, not half", n)
	}
	if n := takeAll(&m, mib, &export, &share{}); n != 0 {
		t.Errorf("from another address it gets %d MiB more", n)
	}
	if n := takeAll(&m, mib, &share{}, &addr); n != 0 {
		t.Errorf("on another export it gets %d MiB more", n)
	}
	for range 6 {
		takeAll(&m, mib, &share{}, &share{})
	}
	if n := takeAll(&m, mib, &share{}, &share{}); n != 1 {
		t.Errorf("the eighth gets %d MiB", n)
	}
	m.giveBack(128*mib, &export, &addr)
	if n := takeAll(&m, mib, &share{}, &share{}); n < 64 || export.held != 0 || addr.held != 0 {
		t.Errorf("%d MiB of the 128 that were given back, %d and %d are held", n, export.held, addr.held)
	}
}
