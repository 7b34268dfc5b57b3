package crashtest

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to look into databases with

	"blockconsole/web/app/apptest"
)

const (
	crashClients = 4
	clicksMost   = 14 // of one client in one round
	livesMost    = 400 * time.Millisecond
)

// TestCrash kills the real program at random moments while clients click, and
// looks each time whether what was acknowledged has happened, once and whole.
//
// BLOCKCONSOLE_CRASH_ROUNDS sets the number of kills, BLOCKCONSOLE_CRASH_SEED
// repeats the choices of an earlier run (the moments remain the machine's).
func TestCrash(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: kills the program many times")
	}
	rounds := int(number(t, "BLOCKCONSOLE_CRASH_ROUNDS", 25))
	seed := number(t, "BLOCKCONSOLE_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	p := apptest.NewProgram(t)
	p.Start()
	p.SignIn()
	w := newWorld(t, p)
	for i := range crashClients {
		w.hands = append(w.hands, &hand{w: w, number: i, chance: rand.New(rand.NewPCG(seed, uint64(i)+1))})
	}
	for round := range rounds {
		w.round = round
		w.clickUntilKilled(time.Duration(chance.Int64N(int64(livesMost))))
		p.Start()
		for chance.IntN(3) == 0 { // also while it takes up what the last kill left
			<-time.After(time.Duration(chance.Int64N(int64(150 * time.Millisecond))))
			p.Kill()
			p.Start()
		}
		w.sendAgain()
		w.waitUntilIdle()
		w.verify(false)
		if t.Failed() {
			t.Fatalf("round %d of %d, seed %d", round+1, rounds, seed)
		}
	}
	w.verify(true)
	p.Stop()
	w.verifyStopped()
	t.Logf("%d rounds: %s", rounds, w.summary())
}

// TestKilledWhileStarting kills the program while it makes its database and its
// folders, and looks whether the next one still comes to be.
func TestKilledWhileStarting(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: starts the program many times")
	}
	seed := number(t, "BLOCKCONSOLE_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	for range 3 {
		p := apptest.NewProgram(t)
		for range 8 {
			p.Launch()
			<-time.After(time.Duration(chance.Int64N(int64(60 * time.Millisecond))))
			p.Kill()
		}
		p.Start()
		p.SignIn()
		w := newWorld(t, p)
		w.verify(true)
		p.Stop()
		w.verifyStopped()
	}
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// clickUntilKilled lets all clients click, kills the program after a while, and
// waits until each client has met the broken connection.
func (w *world) clickUntilKilled(after time.Duration) {
	var clicking sync.WaitGroup
	for _, h := range w.hands {
		h.clicks = nil
		clicking.Go(h.click)
	}
	<-time.After(after) // the moment is the test
	w.p.Kill()
	clicking.Wait()
}

// waitUntilIdle waits until no operation is pending or running. The order of the
// two looks matters: what leaves PENDING may only become RUNNING.
func (w *world) waitUntilIdle() {
	w.t.Helper()
	eventually(w.t, "no operation under way", func() bool {
		for _, state := range []string{"PENDING", "RUNNING"} {
			var underWay struct{ Items []apptest.Operation }
			w.api.Read("/activity?state="+state, &underWay)
			if len(underWay.Items) > 0 {
				return false
			}
		}
		return true
	})
}

// verifyStopped looks at the database that the last process has left.
func (w *world) verifyStopped() {
	w.t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(w.p.Data, "blockconsole.db"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		w.t.Errorf("the database: %s %v", verdict, err)
	}
}

func (w *world) summary() string {
	kinds := map[string]int{}
	for _, c := range w.operations {
		kinds[c.what]++
	}
	return fmt.Sprintf("%d operations %v; of the clicks without an answer %d had happened, %d had not", len(w.operations), kinds, w.arrived, w.lost)
}
