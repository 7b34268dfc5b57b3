package mirror

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

const (
	// deltaOverlap is how far two deltas overlap: a change may have been written while the response was on its way.
	deltaOverlap = 5 * time.Second
	// unsupportedRecheck is the time until a backend without ChangedVolumes is asked again.
	unsupportedRecheck = time.Hour
)

// syncDelta copies the volumes that have changed since the previous delta. There is none
// before the first resync. It renews the leader's lease between two resyncs also where
// the backend has no delta.
func (m *Mirror) syncDelta(ctx context.Context) (next time.Duration, err error) {
	interval := m.Capabilities().Pace.Changed
	if interval == 0 {
		return leaderRenewal, nil
	}
	leads, err := m.leads(ctx)
	since := m.tracker.deltaSince()
	if err != nil || !leads || since.IsZero() {
		return min(interval, leaderRenewal), err
	}
	requestedAt := m.Store.Now()
	if requestedAt.Before(m.noDeltaUntil) {
		return leaderRenewal, nil
	}
	volumes, err := m.Backend.ChangedVolumes(ctx, since.Add(-deltaOverlap))
	if errors.Is(err, backend.ErrUnsupported) {
		m.noDeltaUntil = requestedAt.Add(unsupportedRecheck)
		return leaderRenewal, nil
	}
	if err != nil {
		m.resync.runBy(requestedAt.Add(interval)) // it records what is wrong, and the end of it
		return interval, errors.Join(err, m.recordUnreachable(ctx, err))
	}
	for len(volumes) > 0 {
		n := min(len(volumes), pageSize)
		if _, err := m.apply(ctx, models.SubjectVolume, m.volumeObjects(ctx, volumes[:n]), requestedAt, true); err != nil {
			return interval, err
		}
		volumes = volumes[n:]
	}
	m.tracker.deltaSynced(requestedAt)
	return interval, nil
}
