package models

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Need is what an action takes of one of the project's limits.
type Need struct {
	Quota
	Asked  int64
	PerGiB bool   // Asked grows with the size
	Type   string // the volume type that the limit is about; empty: any
}

// Over says that the limit would be exceeded, as far as the figures are known.
func (n Need) Over() bool { return n.Asked > 0 && n.Limit >= 0 && n.Used+n.Asked > n.Limit }

// Text says so, with the figures.
func (n Need) Text() Text {
	number := func(v int64) string { return strconv.FormatInt(v, 10) }
	return Say("failure.quota", n.What, number(n.Used), number(n.Limit), number(n.Asked))
}

// The things that the limits of a project are about.
const (
	quotaVolumes   = "volumes"
	quotaSnapshots = "snapshots"
	quotaGigabytes = "gigabytes"
)

// NeedsOfVolume are the limits that a new volume of gib GiB counts against, those
// of every type among them.
func (f Facts) NeedsOfVolume(gib int) []Need { return f.needs(quotaVolumes, gib) }

// NeedsOfSnapshot are those of a snapshot of a volume of gib GiB: it counts with
// the volume's whole size.
func (f Facts) NeedsOfSnapshot(gib int) []Need { return f.needs(quotaSnapshots, gib) }

// NeedsOfExtension are those of a volume that grows by gib GiB.
func (f Facts) NeedsOfExtension(gib int) []Need { return f.needs("", gib) }

func (f Facts) needs(one string, gib int) []Need {
	var all []Need
	for _, q := range f.Quotas {
		if q.Limit < 0 {
			continue
		}
		what, of, _ := strings.Cut(q.What, "_")
		switch {
		case of != "" && !f.hasType(of):
			continue // such as per_volume_gigabytes, or of a type that is not offered
		case what == one:
			all = append(all, Need{Quota: q, Asked: 1, Type: of})
		case what == quotaGigabytes:
			all = append(all, Need{Quota: q, Asked: int64(max(gib, 0)), PerGiB: true, Type: of})
		}
	}
	slices.SortStableFunc(all, func(a, b Need) int { // the number first, and what holds for every type
		return cmp.Or(strings.Compare(a.Type, b.Type), cmp.Compare(a.rank(), b.rank()))
	})
	return all
}

func (n Need) rank() int {
	if n.PerGiB {
		return 1
	}
	return 0
}

func (f Facts) hasType(name string) bool {
	return slices.Contains(f.Types, name)
}

// checkQuota says which limit would be exceeded, beside the size where it decides
// and there is a field for it. Limits of other types than the one chosen do not
// count; without a choice the backend chooses, and knows better.
func checkQuota(needs []Need, volumeType string, sizeField bool, fields invalidFields) {
	for _, n := range needs {
		if !n.Over() || (n.Type != "" && n.Type != volumeType) {
			continue
		}
		field := "quota"
		if n.PerGiB && sizeField {
			field = "size_gib"
		}
		if _, said := fields[field]; !said {
			fields[field] = n.Text()
		}
	}
}
