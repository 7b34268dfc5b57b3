package crashtest

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"blockconsole/models/backend/backendtest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// TestKilledWhileCopying kills the program at random moments of a snapshot's copy while
// servers write. They find everything that was answered; a snapshot is whole or not there,
// and one that was not is taken again, of the instant that it says.
//
// BLOCKCONSOLE_CRASH_COPIES is the number of kills, BLOCKCONSOLE_CRASH_SEED repeats the
// requests and choices of an earlier run (the moments remain the machine's).
func TestKilledWhileCopying(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: kills the program")
	}
	seed := number(t, "BLOCKCONSOLE_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	s := newSite(t, nil, [2]string{"web-1", "127.0.0.1"})
	id := s.newVolume("database")
	s.attach(id, "web-1")
	l := &backendtest.Load{History: backendtest.NewHistory(gib), Span: 160 * mib, Seed: seed}
	if err := l.Prefill(s.connected(id), 16*mib); err != nil {
		t.Fatal(err)
	}
	again := 0
	for range number(t, "BLOCKCONSOLE_CRASH_COPIES", 4) {
		l.Start(s.connected(id), s.connected(id), s.connected(id))
		a := s.api.Ask(views.SnapshotsPath, "name", "killed", "volume_id", id, "acknowledge", "1")
		<-time.After(time.Duration(chance.Int64N(int64(120 * time.Millisecond)))) // the moment is the test
		s.Kill()
		if err := l.Wait(); err == nil {
			t.Fatal("the connections have not ended")
		}
		killed := time.Now()
		whole := s.takenAt(a.ID)
		if !whole.IsZero() {
			s.wantInstant(l, "snapshots", a.ID, whole)
		}
		s.wantInstant(l, "volumes", id, killed)
		s.start()
		s.SignIn()
		s.api = s.Client.JSON()
		if whole.IsZero() {
			l.Start(s.connected(id), s.connected(id))
		}
		if op := s.api.Ended(a.Operation, apptest.Patience); op.State != "SUCCEEDED" {
			t.Fatalf("%+v", op)
		}
		taken := s.takenAt(a.ID)
		if whole.IsZero() {
			again++
			if err := l.Stop(); err != nil {
				t.Error(err)
			}
			s.wantInstant(l, "snapshots", a.ID, taken)
		}
		if !whole.Equal(taken) && taken.Before(killed) {
			t.Errorf("of the instant %s, which was lost at %s", taken, killed)
		}
		s.wantNothingLeft(a.ID)
		s.done(views.SnapshotsPath + "/" + a.ID + "/delete")
	}
	t.Logf("%d copies were made again", again)
}

func (s *site) connected(id string) *backendtest.NBD {
	s.t.Helper()
	c, err := s.raw("127.0.0.1", id)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// takenAt is what a snapshot's folder says of its instant; zero: there is no snapshot.
func (s *site) takenAt(id string) time.Time {
	s.t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.Data, "snapshots", id, "meta.json"))
	if errors.Is(err, os.ErrNotExist) {
		return time.Time{}
	}
	var m struct {
		TakenAt time.Time `json:"taken_at"`
	}
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil || m.TakenAt.IsZero() {
		s.t.Fatalf("%s %v", raw, err)
	}
	return m.TakenAt
}

// wantInstant checks that a volume's or snapshot's file is of an instant.
func (s *site) wantInstant(l *backendtest.Load, kind, id string, at time.Time) {
	s.t.Helper()
	if err := l.History.Check(filepath.Join(s.Data, kind, id, "data.raw"), at, at); err != nil {
		s.t.Errorf("%s after %d requests: %v", kind, l.History.Len(), err)
	}
}

// wantNothingLeft checks that the data folder holds one snapshot and no remains of others.
func (s *site) wantNothingLeft(snapshot string) {
	s.t.Helper()
	wantFolder(s.t, s.Data, "snapshots", snapshot)
	for _, folder := range []string{"tmp", "trash", "quarantine"} {
		wantFolder(s.t, s.Data, folder)
	}
}
