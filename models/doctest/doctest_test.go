package doctest

import (
	"go/token"
	"regexp"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	const source = `package p

// Get finds n objects. It forgets its errors.
func Get(n int) error

// Put stores after wait. Errors: none of its own.
func (s *Store) Put(size int, wait time.Duration) error

// It starts without its name.
func Start() {}

// A Stop stops.
type Stop struct{}

// Get is not exported.
func (s *store) Get(n int) error

// Store stores.
type Store interface {
	// A and B start. CodeBusy: it is in use.
	A() error
	B() error
	C(since time.Time) error
}

// Row is one.
type Row struct {
	SizeGiB   int
	Size      int64
	Free      *int64 // bytes
	CreatedAt time.Time
	Since     []time.Time
	Until     time.Time // of the lock
	inner     int
}
`
	d := docs{set: token.NewFileSet(), errorNames: regexp.MustCompile(`\bCode[A-Z]\w+`)}
	if err := d.file("p.go", []byte(source)); err != nil {
		t.Fatal(err)
	}
	want := `p.go:4:1: Get names none of its errors
p.go:7:21: size has no unit
p.go:10:6: the comment of Start does not begin with its name
p.go:23:3: C names none of its errors
p.go:23:4: since does not say what time it is
p.go:29:2: Size has no unit
p.go:32:2: Since does not say what time it is`
	if got := strings.Join(d.missing, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
