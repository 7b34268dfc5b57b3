package handlers

import (
	"testing"

	"blockconsole/models"
)

func TestHub(t *testing.T) {
	var h hub
	early := newSubscriber(topic{kind: models.SubjectVolume}, "kim", 0)
	if position, ok := h.subscribe(early); !ok || position != 0 {
		t.Fatalf("the first begins after %d, %v", position, ok)
	}
	audience := h.advance(7)
	late := newSubscriber(topic{}, "lee", 0)
	if position, ok := h.subscribe(late); !ok || position != 7 || len(audience) != 1 || audience[0] != early {
		t.Fatalf("who comes later begins after %d, %v; before it were %v", position, ok, audience)
	}
	for range subscriberQueue {
		h.send(early, []byte("event"))
	}
	h.send(early, nil)
	if early.lost.Load() || len(early.events) != subscriberQueue {
		t.Errorf("%d events wait, lost %v", len(early.events), early.lost.Load())
	}
	if h.send(early, []byte("more")); !early.lost.Load() {
		t.Error("an event was dropped, and nothing says so")
	}
	h.unsubscribe(late)
	if h.send(late, []byte("event")); len(late.events) != 0 {
		t.Error("who has left gets an event")
	}
	h.close()
	for range subscriberQueue {
		<-early.events
	}
	if _, open := <-early.events; open {
		t.Error("the stream goes on after the end")
	}
	if _, ok := h.subscribe(late); ok {
		t.Error("a stream begins after the end")
	}
	h.send(early, []byte("event"))
	h.close()
}
