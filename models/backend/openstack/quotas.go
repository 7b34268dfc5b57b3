package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/limits"

	"blockconsole/models/backend"
)

// perVolume is the quota of the size of one volume, in GiB.
const perVolume = "per_volume_gigabytes"

// quotas are those of volumes, snapshots and gigabytes, also of single volume types where
// they have a limit. largest is the maximum GiB of a volume; -1: no limit, or unknown.
func (b *Backend) quotas(ctx context.Context, s *session) (list []backend.Quota, largest int, err error) {
	set, err := getQuotaSet(ctx, s.volume, s.project.ID)
	if p := asAPIError(err); p != nil && (p.status == http.StatusForbidden || p.status == http.StatusNotFound) {
		list, err = b.limits(ctx, s)
		return list, -1, err
	}
	if err != nil {
		return nil, -1, b.translate(ctx, err)
	}
	largest = -1
	for _, name := range slices.Sorted(maps.Keys(set)) {
		use := set[name]
		what, _, ofType := strings.Cut(name, "_")
		switch {
		case name == perVolume:
			largest = int(max(use.Limit, -1))
		case !slices.Contains([]string{"volumes", "snapshots", "gigabytes"}, what) || ofType && use.Limit < 0:
		default:
			list = append(list, backend.Quota{What: name, Used: use.InUse + use.Reserved, Limit: use.Limit})
		}
	}
	return list, largest, nil
}

// limits are the quotas where a policy hides quota sets from members.
func (b *Backend) limits(ctx context.Context, s *session) ([]backend.Quota, error) {
	l, err := limits.Get(ctx, s.volume).Extract()
	if err != nil {
		return nil, b.translate(ctx, err)
	}
	return []backend.Quota{
		{What: "gigabytes", Used: int64(l.Absolute.TotalGigabytesUsed), Limit: int64(l.Absolute.MaxTotalVolumeGigabytes)},
		{What: "snapshots", Used: int64(l.Absolute.TotalSnapshotsUsed), Limit: int64(l.Absolute.MaxTotalSnapshots)},
		{What: "volumes", Used: int64(l.Absolute.TotalVolumesUsed), Limit: int64(l.Absolute.MaxTotalVolumes)},
	}, nil
}

// quotaRequest is what a request needs of the quotas. A snapshot needs the whole size of
// its volume.
type quotaRequest struct{ volumes, snapshots, gigabytes int64 }

var (
	quotaName    = regexp.MustCompile(`(?:for quota '|exceeds allowed )([a-zA-Z0-9_. -]+?)(?:'| quota)`)
	quotaFigures = regexp.MustCompile(`Requested (\d+)G, quota is (\d+)G and (\d+)G has been consumed`)
	quotaCount   = regexp.MustCompile(`allowed \((\d+)\)`)
	volumeLimit  = regexp.MustCompile(`size (\d+)G is larger than maximum allowed limit (\d+)G`)
)

// quotaError is CodeQuota with the figures of Cinder's text, or else of the quota set.
func (b *Backend) quotaError(ctx context.Context, s *session, p *apiError, want quotaRequest) error {
	if !p.contains("xceed") && !p.contains("larger than") {
		return b.translate(ctx, p) // 413 also means other things that are too large
	}
	q := &backend.Error{Code: backend.CodeQuota, Used: -1, Limit: -1}
	switch {
	case volumeLimit.MatchString(p.text):
		m := volumeLimit.FindStringSubmatch(p.text)
		return &backend.Error{Code: backend.CodeQuota, What: perVolume, Limit: parseNumber(m[2]), Asked: parseNumber(m[1])}
	case p.contains("SnapshotLimitExceeded"):
		q.What = "snapshots"
	case p.contains("VolumeLimitExceeded"):
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
		q.Limit = parseNumber(m[1])
	}
	if m := quotaFigures.FindStringSubmatch(p.text); m != nil {
		q.Asked, q.Limit, q.Used = parseNumber(m[1]), parseNumber(m[2]), parseNumber(m[3])
		return q
	}
	list, _, err := b.quotas(ctx, s)
	if errors.Is(err, context.Canceled) {
		return err
	}
	for _, known := range list { // without figures What still says which quota
		if known.What == q.What {
			q.Used, q.Limit = known.Used, known.Limit
		}
	}
	if q.Used < 0 {
		q.Used = q.Limit
	}
	return q
}

func parseNumber(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// quotaUse is one quota of a quota set.
type quotaUse struct {
	InUse    int64 `json:"in_use"`
	Reserved int64 `json:"reserved"`
	Limit    int64 `json:"limit"`
}

// getQuotaSet reads all quotas of a project by name, those of volume types too.
func getQuotaSet(ctx context.Context, client *gophercloud.ServiceClient, project string) (map[string]quotaUse, error) {
	var body struct {
		Set map[string]json.RawMessage `json:"quota_set"`
	}
	if _, err := client.Get(ctx, client.ServiceURL("os-quota-sets", project)+"?usage=true", &body, nil); err != nil {
		return nil, err
	}
	set := make(map[string]quotaUse, len(body.Set))
	for name, raw := range body.Set {
		var use quotaUse
		if json.Unmarshal(raw, &use) == nil { // the set's id is a string
			set[name] = use
		}
	}
	return set, nil
}
