package models

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"blockconsole/models/backend"
)

// Capabilities is what the backend can do. The mirror keeps a copy in the store, so
// that pages need not call the backend.
type Capabilities = backend.Capabilities

// Quota is a limit of the console's own project.
type Quota = backend.Quota

// QuotaUse is what an action would use of a quota.
type QuotaUse struct {
	Quota
	Asked  int64  // in units of What
	PerGiB bool   // Asked grows with the size
	Type   string // the volume type that the quota is for; empty: any
}

// Over reports whether the quota would be exceeded, as far as the figures are known.
func (u QuotaUse) Over() bool { return u.Asked > 0 && u.Limit >= 0 && u.Used+u.Asked > u.Limit }

// Text says that the quota would be exceeded, with the figures.
func (u QuotaUse) Text() Text {
	number := func(v int64) string { return strconv.FormatInt(v, 10) }
	return NewText("failure.quota", u.What, number(u.Used), number(u.Limit), number(u.Asked))
}

// What a Quota limits, in Cinder's words.
const (
	quotaVolumes   = "volumes"
	quotaSnapshots = "snapshots"
	quotaGigabytes = "gigabytes"
)

// QuotaForVolume returns what a new volume of gib GiB uses of each quota, of those for
// a volume type too.
func QuotaForVolume(c Capabilities, gib int) []QuotaUse { return quotaUses(c, quotaVolumes, gib) }

// QuotaForSnapshot returns what a snapshot of a volume of gib GiB uses: it counts with
// the volume's whole size.
func QuotaForSnapshot(c Capabilities, gib int) []QuotaUse { return quotaUses(c, quotaSnapshots, gib) }

// QuotaForExtension returns what a volume uses that grows by gib GiB.
func QuotaForExtension(c Capabilities, gib int) []QuotaUse { return quotaUses(c, "", gib) }

// quotaUses returns what one object of the kind counted uses, and gib GiB.
func quotaUses(c Capabilities, counted string, gib int) []QuotaUse {
	var uses []QuotaUse
	for _, q := range c.Quotas {
		if q.Limit < 0 {
			continue
		}
		what, volumeType, _ := strings.Cut(q.What, "_")
		switch {
		case volumeType != "" && !slices.Contains(c.Types, volumeType):
			continue // such as per_volume_gigabytes, or of a type that is not offered
		case what == counted:
			uses = append(uses, QuotaUse{Quota: q, Asked: 1, Type: volumeType})
		case what == quotaGigabytes:
			uses = append(uses, QuotaUse{Quota: q, Asked: int64(max(gib, 0)), PerGiB: true, Type: volumeType})
		}
	}
	slices.SortStableFunc(uses, func(a, b QuotaUse) int { // quotas of all types first, numbers before sizes
		return cmp.Or(strings.Compare(a.Type, b.Type), cmp.Compare(a.rank(), b.rank()))
	})
	return uses
}

func (u QuotaUse) rank() int {
	if u.PerGiB {
		return 1
	}
	return 0
}

// CheckQuota adds an error for each exceeded quota to fields: to size_gib when the size
// exceeds it and the form has sizeField, else to quota. Quotas of other volume types
// than volumeType do not count; without a type the backend chooses one, and checks.
func CheckQuota(uses []QuotaUse, volumeType string, sizeField bool, fields FieldErrors) {
	for _, u := range uses {
		if !u.Over() || (u.Type != "" && u.Type != volumeType) {
			continue
		}
		field := "quota"
		if u.PerGiB && sizeField {
			field = "size_gib"
		}
		if _, exists := fields[field]; !exists {
			fields[field] = u.Text()
		}
	}
}
