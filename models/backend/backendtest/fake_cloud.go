package backendtest

import (
	"context"
	"slices"
	"time"

	"blockconsole/models/backend"
)

// Quiet is how an operation of a Fake fails when the object does not say why, as
// in a cloud: for Fail, FailNext and FailDelete.
type Quiet struct {
	Back        bool  // the object is as it was before the request; otherwise it is in error, without a reason
	LastFailure error // what Told says then; nil: nothing
}

func (q Quiet) Error() string { return "a failure that the object does not tell" }

// lastFailures is what a Fake has to say about an object.
type lastFailure struct {
	at  time.Time
	err error
}

// SetLastFailure is what Told says of the object from now on: backend.CodeReported or
// backend.CodeBusy; nil: nothing. ref may be an id.
func (f *Fake) SetLastFailure(ref string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setLastFailure(ref, err)
}

func (f *Fake) setLastFailure(ref string, err error) {
	delete(f.lastFailures, ref)
	if err != nil {
		f.lastFailures[ref] = lastFailure{f.now(), err}
	}
}

// LastFailure says what SetLastFailure or a Quiet failure left, unless it is older than since.
func (f *Fake) LastFailure(ctx context.Context, _ backend.Subject, key backend.Key, since time.Time) error {
	if err := f.enter(ctx, "LastFailure", key.Ref); err != nil {
		return err
	}
	defer f.mu.Unlock()
	for _, name := range []string{key.Ref, key.ID} {
		if t, ok := f.lastFailures[name]; ok && name != "" && !t.at.Before(since) {
			return t.err
		}
	}
	return backend.ErrNotFound
}

// TellChanges lets ChangedVolumes answer.
func (f *Fake) TellChanges() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes = true
}

// ChangedVolumes answers [backend.ErrUnsupported] without TellChanges.
func (f *Fake) ChangedVolumes(ctx context.Context, since time.Time) ([]backend.Volume, error) {
	if err := f.enter(ctx, "ChangedVolumes", ""); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if !f.changes {
		return nil, backend.ErrUnsupported
	}
	var changed []backend.Volume
	for _, v := range f.volumes {
		if (v.known || !f.late(v.CreatedAt)) && !v.Changed.Before(since) {
			changed = append(changed, v.show())
		}
	}
	slices.SortFunc(changed, func(a, b backend.Volume) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return changed, nil
}

// SetLag lets new objects be found by Ref and listed only after d, as where an
// answer was lost and the request is still on its way: a creation that is
// repeated before makes a second object. Whoever has the answer sees it at once.
func (f *Fake) SetLag(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lag = d
}

func (f *Fake) late(created time.Time) bool { return f.now().Before(created.Add(f.lag)) }

// seeVolume finds what the port can see.
func (f *Fake) seeVolume(k backend.Key) *fakeVolume {
	if v := f.volumes[k.ID]; v != nil {
		v.known = true
		return v
	}
	return findRef(f.volumes, k.Ref, func(v *fakeVolume) string {
		if !v.known && f.late(v.CreatedAt) {
			return ""
		}
		return v.Ref
	})
}

func (f *Fake) seeSnapshot(k backend.Key) *fakeSnapshot {
	if s := f.snapshots[k.ID]; s != nil {
		s.known = true
		return s
	}
	return findRef(f.snapshots, k.Ref, func(s *fakeSnapshot) string {
		if !s.known && f.late(s.CreatedAt) {
			return ""
		}
		return s.Ref
	})
}

// quotas are the limits that SetQuota left, and what is used of them.
func (f *Fake) quotas() []backend.Quota {
	used := map[string]int64{"volumes": int64(len(f.volumes)), "snapshots": int64(len(f.snapshots)), "gigabytes": f.gigabytes()}
	var quotas []backend.Quota
	for _, what := range []string{"volumes", "snapshots", "gigabytes"} {
		if limit, ok := f.quota[what]; ok {
			quotas = append(quotas, backend.Quota{What: what, Used: used[what], Limit: limit})
		}
	}
	return quotas
}
