package openstack

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/limits"

	"blockconsole/models/backend"
)

// perVolume is the limit of the size of one volume.
const perVolume = "per_volume_gigabytes"

// quotas are the limits of volumes, snapshots and gigabytes, and those of types that
// are limited. largest is the most GiB that one volume may have; 0: no limit.
func (b *Backend) quotas(ctx context.Context, s *session) (list []backend.Quota, largest int, err error) {
	set, err := quotaSet(ctx, s.volume, s.project.ID)
	if p := problemOf(err); p != nil && (p.status == http.StatusForbidden || p.status == http.StatusNotFound) {
		list, err = b.limits(ctx, s)
		return list, 0, err
	}
	if err != nil {
		return nil, 0, b.explain(ctx, err)
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		use := set[name]
		what, _, ofType := strings.Cut(name, "_")
		switch {
		case name == perVolume:
			largest = int(max(use.Limit, 0))
		case !slices.Contains([]string{"volumes", "snapshots", "gigabytes"}, what) || ofType && use.Limit < 0:
		default:
			list = append(list, backend.Quota{What: name, Used: use.InUse + use.Reserved, Limit: use.Limit})
		}
	}
	return list, largest, nil
}

// limits are the same where a policy keeps quotas from members.
func (b *Backend) limits(ctx context.Context, s *session) ([]backend.Quota, error) {
	l, err := limits.Get(ctx, s.volume).Extract()
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	return []backend.Quota{
		{What: "gigabytes", Used: int64(l.Absolute.TotalGigabytesUsed), Limit: int64(l.Absolute.MaxTotalVolumeGigabytes)},
		{What: "snapshots", Used: int64(l.Absolute.TotalSnapshotsUsed), Limit: int64(l.Absolute.MaxTotalSnapshots)},
		{What: "volumes", Used: int64(l.Absolute.TotalVolumesUsed), Limit: int64(l.Absolute.MaxTotalVolumes)},
	}, nil
}

// asked is what a request would have taken of the project's quotas. A snapshot takes
// the whole size of its volume.
type asked struct{ volumes, snapshots, gigabytes int64 }

var (
	quotaName    = regexp.MustCompile(`(?:for quota '|exceeds allowed )([a-zA-Z0-9_. -]+?)(?:'| quota)`)
	quotaFigures = regexp.MustCompile(`Requested (\d+)G, quota is (\d+)G and (\d+)G has been consumed`)
	quotaCount   = regexp.MustCompile(`allowed \((\d+)\)`)
	volumeLimit  = regexp.MustCompile(`size (\d+)G is larger than maximum allowed limit (\d+)G`)
)

// explainQuota names the limit, and asks for the figures that the answer leaves out.
func (b *Backend) explainQuota(ctx context.Context, s *session, p *problem, want asked) error {
	if !p.says("xceed") && !p.says("larger than") {
		return b.explain(ctx, p) // Cinder answers so to other things that are too large, too
	}
	q := &backend.Error{Code: backend.CodeQuota, Used: -1, Limit: -1}
	switch {
	case volumeLimit.MatchString(p.text):
		m := volumeLimit.FindStringSubmatch(p.text)
		return &backend.Error{Code: backend.CodeQuota, What: perVolume, Limit: number(m[2]), Asked: number(m[1])}
	case p.says("SnapshotLimitExceeded"):
		q.What = "snapshots"
	case p.says("VolumeLimitExceeded"):
		q.What = "volumes"
	default:
		q.What = "gigabytes"
	}
	if m := quotaName.FindStringSubmatch(p.text); m != nil {
		q.What = m[1]
	}
	switch what, _, _ := strings.Cut(q.What, "_"); what {
	case "volumes":
		q.Asked = want.volumes
	case "snapshots":
		q.Asked = want.snapshots
	default:
		q.Asked = want.gigabytes
	}
	if m := quotaCount.FindStringSubmatch(p.text); m != nil {
		q.Limit = number(m[1])
	}
	if m := quotaFigures.FindStringSubmatch(p.text); m != nil {
		q.Asked, q.Limit, q.Used = number(m[1]), number(m[2]), number(m[3])
		return q
	}
	list, _, err := b.quotas(ctx, s)
	if errors.Is(err, context.Canceled) {
		return err
	}
	for _, known := range list { // without the figures the name of the limit still says what is wrong
		if known.What == q.What {
			q.Used, q.Limit = known.Used, known.Limit
		}
	}
	if q.Used < 0 {
		q.Used = q.Limit
	}
	return q
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}
