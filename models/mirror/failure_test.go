package mirror_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/views/i18n"
)

// TestFailureOf_Files: whatever is wrong with files has a text that names the file.
func TestFailureOf_Files(t *testing.T) {
	t.Parallel()
	damaged := func(d backend.Damage, served bool, kept string) *backend.Error {
		return &backend.Error{Code: backend.CodeDamaged, Path: "/d/data.raw", Damage: d, Have: 5, Want: 7, Served: served, Kept: kept}
	}
	for want, err := range map[string]*backend.Error{
		"failure.damaged.gone":            damaged(backend.Gone, false, ""),
		"failure.damaged.gone.served":     damaged(backend.Gone, true, ""),
		"failure.damaged.gone.kept":       damaged(backend.Gone, true, "/proc/1/fd/2"),
		"failure.damaged.size":            damaged(backend.WrongSize, false, ""),
		"failure.damaged.size.served":     damaged(backend.WrongSize, true, ""),
		"failure.damaged.replaced":        damaged(backend.Replaced, false, ""),
		"failure.damaged.replaced.served": damaged(backend.Replaced, true, ""),
		"failure.damaged.replaced.kept":   damaged(backend.Replaced, true, "/proc/1/fd/2"),
		"failure.damaged.description":     damaged(backend.NoDescription, false, ""),
		"failure.changed":                 {Code: backend.CodeChanged, Path: "/d/data.raw"},
		"failure.slow":                    {Code: backend.CodeSlow, Waited: 6 * time.Second, Most: 5 * time.Second},
		"failure.container":               {Code: backend.CodeContainer, Path: "/d/data.raw", What: "QCOW2"},
	} {
		got := mirror.FailureOf(err)
		if got.Key != want || !i18n.Has(want) || len(got.Args) == 0 || !mirror.Permanent(err) {
			t.Errorf("%+v, want %s", got, want)
		}
		if damage := err.Code == backend.CodeDamaged; got.IsDamage() != damage || models.NewFailure(want).IsDamage() != damage {
			t.Errorf("%s is a damage: %t", want, got.IsDamage())
		}
	}
}
