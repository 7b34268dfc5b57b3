package models

import (
	"blockconsole/models/backend"
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Capabilities is what the backend can do and hold at present, told by the mirror,
// so that a page never asks the backend.
type Capabilities = backend.Capabilities

// Quota is a limit of the console's own project.
type Quota = backend.Quota

// QuotaUse is what an action takes of one of the project's limits.
type QuotaUse struct {
	Quota
	Asked  int64
	PerGiB bool   // Asked grows with the size
	Type   string // the volume type that the limit is about; empty: any
}

// Over says that the limit would be exceeded, as far as the figures are known.
func (n QuotaUse) Over() bool { return n.Asked > 0 && n.Limit >= 0 && n.Used+n.Asked > n.Limit }

// Text says so, with the figures.
func (n QuotaUse) Text() Text {
	number := func(v int64) string { return strconv.FormatInt(v, 10) }
	return NewText("failure.quota", n.What, number(n.Used), number(n.Limit), number(n.Asked))
}

// The things that the limits of a project are about.
const (
	quotaVolumes   = "volumes"
	quotaSnapshots = "snapshots"
	quotaGigabytes = "gigabytes"
)

// QuotaForVolume are the limits that a new volume of gib GiB counts against, those
// of every type among them.
func QuotaForVolume(c Capabilities, gib int) []QuotaUse { return quotaUses(c, quotaVolumes, gib) }

// QuotaForSnapshot are those of a snapshot of a volume of gib GiB: it counts with
// the volume's whole size.
func QuotaForSnapshot(c Capabilities, gib int) []QuotaUse { return quotaUses(c, quotaSnapshots, gib) }

// QuotaForExtension are those of a volume that grows by gib GiB.
func QuotaForExtension(c Capabilities, gib int) []QuotaUse { return quotaUses(c, "", gib) }

func quotaUses(c Capabilities, one string, gib int) []QuotaUse {
	var all []QuotaUse
	for _, q := range c.Quotas {
		if q.Limit < 0 {
			continue
		}
		what, of, _ := strings.Cut(q.What, "_")
		switch {
		case of != "" && !slices.Contains(c.Types, of):
			continue // such as per_volume_gigabytes, or of a type that is not offered
		case what == one:
			all = append(all, QuotaUse{Quota: q, Asked: 1, Type: of})
		case what == quotaGigabytes:
			all = append(all, QuotaUse{Quota: q, Asked: int64(max(gib, 0)), PerGiB: true, Type: of})
		}
	}
	slices.SortStableFunc(all, func(a, b QuotaUse) int { // the number first, and what holds for every type
		return cmp.Or(strings.Compare(a.Type, b.Type), cmp.Compare(a.rank(), b.rank()))
	})
	return all
}

func (n QuotaUse) rank() int {
	if n.PerGiB {
		return 1
	}
	return 0
}

// CheckQuota says which limit would be exceeded, beside the size where it decides
// and there is a field for it. Limits of other types than the one chosen do not
// count; without a choice the backend chooses, and knows better.
func CheckQuota(needs []QuotaUse, volumeType string, sizeField bool, fields FieldErrors) {
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
