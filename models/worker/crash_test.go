package worker_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store/storetest"
)

// looksOf is how many looks the operation takes when nothing goes wrong.
func looksOf(b *bench) int {
	for n := 0; ; n++ {
		if !b.pass() {
			return n
		}
		b.look(1)
	}
}

// TestACrashAtEveryStep lets a worker die after it has asked the backend and
// before it has saved, at every look of every kind: the next one finds or repeats
// what was begun, and there is one object at the end.
func TestACrashAtEveryStep(t *testing.T) {
	eachKind(t, func(b *bench, k kind) {
		id := k.prepare(b)
		b.asked(k.ask(b, id))
		looks := looksOf(b)
		for at := range looks {
			b.Run(fmt.Sprintf("look %d of %d", at+1, looks), func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				id := k.prepare(b)
				op := b.asked(k.ask(b, id))
				b.look(at)
				b.die()
				k.recovers(b, id, op)
			})
		}
		b.Run("every look", func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			id := k.prepare(b)
			op := b.asked(k.ask(b, id))
			for range looks {
				if b.pass(); b.operation(op.ID).Finished() {
					break
				}
				b.die()
				b.look(1)
			}
			k.recovers(b, id, op)
		})
	})
}

// die lets the worker look without saving, and replaces it.
func (b *bench) die() {
	b.Helper()
	b.pass()
	if op, err := b.worker.LookAndDie(b.Context()); err != nil || op == nil {
		b.Fatalf("nothing to die at: %v", err)
	}
	b.restart()
	if n, err := b.worker.RunDue(b.Context()); n != 0 || err != nil {
		b.Fatalf("%d looks within the lease of the dead, %v", n, err)
	}
	b.clock.Add(lease + time.Second)
}

func (k kind) recovers(b *bench, id string, op *models.Operation) {
	b.Helper()
	b.work()
	if k.name == "volume.revert" {
		b.work() // it may be reverted twice, to the same bytes
	}
	k.check(b, id, op)
}

var errStrange = errors.New("something nobody has a name for")

// TestAFaultAtEveryCall breaks each call of each method once, before or after it
// takes effect.
func TestAFaultAtEveryCall(t *testing.T) {
	methods := []string{"Volume", "Snapshot", "CreateVolume", "CreateSnapshot", "RenameVolume", "RenameSnapshot", "ExtendVolume", "DeleteVolume",
		"DeleteSnapshot", "RevertVolume", "AttachVolume", "DetachVolume", "RepairVolume", "RepairSnapshot"}
	eachKind(t, func(b *bench, k kind) {
		id := k.prepare(b)
		before := map[string]int{}
		for _, m := range methods {
			before[m] = b.faulty.Calls(m)
		}
		b.asked(k.ask(b, id))
		b.work()
		for _, m := range methods {
			for n := 1; n <= b.faulty.Calls(m)-before[m]; n++ {
				faults := []backendtest.Fault{{}, {Err: errStrange, After: true}, {After: true}, {Err: errStrange}}
				if slow {
					faults = faults[:2]
				}
				for _, fault := range faults {
					b.Run(fmt.Sprintf("%s %d %v", m, n, fault), func(t *testing.T) {
						t.Parallel()
						b := newBench(t)
						id := k.prepare(b)
						b.faulty.Inject(m, n, fault)
						op := b.asked(k.ask(b, id))
						b.work()
						k.check(b, id, op)
					})
				}
			}
		}
	})
}

// TestALostAnswerIsWaitedFor: where an object may take a while to become visible, it
// is not asked for again before that, unless the request certainly never left.
func TestALostAnswerIsWaitedFor(t *testing.T) {
	const (
		settle = 90 * time.Second
		unsent = "nothing was sent"
	)
	for _, k := range []kind{kinds[0], kinds[3], kinds[12]} {
		for name, lose := range map[string]func(b *bench){
			"the answer is lost": func(b *bench) {
				b.faulty.Inject(k.request, 1, backendtest.Fault{After: true})
				b.look(1)
			},
			"nothing arrived": func(b *bench) {
				b.faulty.Inject(k.request, 1, backendtest.Fault{})
				b.look(1)
			},
			unsent: func(b *bench) {
				b.faulty.Inject(k.request, 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeUnavailable, Unsent: true, Err: errStrange}})
				b.look(1)
			},
			"the worker dies": func(b *bench) {
				b.faulty.Inject(k.request, 1, backendtest.Fault{})
				b.die()
			},
		} {
			t.Run(k.name+", "+name, func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				b.fake.SetCapabilities(func(c *backend.Capabilities) { c.Settle = settle })
				b.restart()
				id := k.prepare(b)
				op := b.asked(k.ask(b, id))
				began, called := b.clock.Now(), b.faulty.Calls(k.request)
				lose(b)
				for b.faulty.Calls(k.request) == called+1 && b.pass() {
					b.look(1)
				}
				again, waited := b.faulty.Calls(k.request) > called+1, b.clock.Now().Sub(began)
				if again && (waited < settle) != (name == unsent) {
					b.Errorf("asked again after %v", waited)
				}
				b.work()
				k.check(b, id, op)
			})
		}
	}
}

// TestTheSlowerOfTwoWorkersSavesNothing: its lease ran out while the backend was
// silent.
func TestTheSlowerOfTwoWorkersSavesNothing(t *testing.T) {
	clock := storetest.NewClock()
	store := storetest.Open(t, clock.Now)
	b := benchOf(t, store, clock)
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "raced-1", Size: "1"}))
	entered := make(chan struct{})
	b.faulty.Inject("CreateVolume", 1, backendtest.Fault{Hang: true, After: true, Entered: entered, Err: errStrange})
	m, slow := workerOn(b, b.faulty, time.Hour) // its heart beats too seldom to matter
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	hanging, wake := contextWithCancel(t)
	over := make(chan error, 1)
	go func() {
		_, err := slow.Look(hanging)
		over <- err
	}()
	<-entered
	clock.Add(2 * time.Hour)
	b.work()
	if row := b.volume(op.SubjectID); row.Status != models.Available {
		t.Fatalf("%+v", row)
	}
	wake()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if row, op := b.volume(op.SubjectID), b.operation(op.ID); row.Status != models.Available || op.State != models.Succeeded || op.Attempts != 0 {
		t.Errorf("%+v, %+v", row, op)
	}
	b.same()
}
