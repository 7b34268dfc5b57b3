package backendtest

import (
	"context"
	"time"

	"blockconsole/models/backend"
)

// lastFailure is one answer of LastFailure.
type lastFailure struct {
	at  time.Time
	err error
}

// SetLastFailure sets the LastFailure of an object, found by Ref or ID: CodeReported or
// CodeBusy; nil: none.
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

// LastFailure is that of SetLastFailure or a SilentFailure, unless it is older than since.
func (f *Fake) LastFailure(ctx context.Context, _ backend.SubjectType, key backend.Key, since time.Time) error {
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
