package openstack

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"blockconsole/models/backend"
)

// What volumes and snapshots have in common.

// lookUp finds an object by ID, else by Ref.
func lookUp[T any](ctx context.Context, b *Backend, key backend.Key, find func(context.Context, *session, backend.Key) (T, error)) (*session, T, error) {
	s, err := b.session(ctx)
	if err != nil {
		var none T
		return nil, none, err
	}
	o, err := find(ctx, s, key)
	return s, o, b.translate(ctx, err)
}

// lookUpID makes no request when the ID is known.
func lookUpID[T any](ctx context.Context, b *Backend, key backend.Key, find func(context.Context, *session, backend.Key) (T, error), idOf func(T) string) (*session, string, error) {
	if isUUID(key.ID) {
		s, err := b.session(ctx)
		return s, key.ID, err
	}
	s, o, err := lookUp(ctx, b, key, find)
	return s, idOf(o), err
}

// findByRef finds the oldest object with ref. It checks every object, because a cloud
// that does not know the filter ignores it.
func findByRef[T any](ctx context.Context, ref string, page func(context.Context, url.Values) ([]T, bool, error), of func(T) (string, map[string]any)) (found T, err error) {
	for q := refFilter(ref); ; {
		items, more, err := page(ctx, q)
		if err != nil {
			return found, err
		}
		last := ""
		for _, item := range items {
			id, metadata := of(item)
			if metadata[refName] == ref {
				return item, nil
			}
			last = id
		}
		if !more {
			return found, backend.ErrNotFound
		}
		q.Set("marker", last)
	}
}

// createOnce returns the object with ref, or creates it. Calls with the same ref wait for
// each other. Errors before create are marked unsent.
func createOnce[T, U any](ctx context.Context, b *Backend, ref string, find func(context.Context, *session, backend.Key) (T, error),
	convert func(*session, T) U, create func(context.Context, *session) (T, error)) (U, error) {
	var none U
	unlock, err := b.creating.lock(ctx, ref)
	if err != nil {
		return none, err
	}
	defer unlock()
	s, err := b.session(ctx)
	if err != nil {
		return none, markUnsent(err)
	}
	o, err := find(ctx, s, backend.Key{Ref: ref})
	if err = b.translate(ctx, err); errors.Is(err, backend.ErrNotFound) {
		o, err = create(ctx, s)
	} else {
		err = markUnsent(err)
	}
	if err != nil {
		return none, err
	}
	return convert(s, o), nil
}

// noteCreated logs the request and reads the clock: the answer to a create has the
// cloud's time in microseconds.
func (b *Backend) noteCreated(id string, response *response, created timestamp) {
	b.lastRequests.add(id, request{id: response.requestID})
	if !created.IsZero() {
		b.setCloudClock(created.Time)
	}
}

// noteDeleted logs the request of a deletion; one of what is gone is success.
func (b *Backend) noteDeleted(ctx context.Context, id string, response *response, err error) error {
	if err == nil {
		b.lastRequests.add(id, request{id: response.requestID, deletes: true})
	}
	return ignoreNotFound(b.translate(ctx, err))
}

func ignoreNotFound(err error) error {
	if errors.Is(err, backend.ErrNotFound) {
		return nil
	}
	return err
}

// translateWrite translates the error of a request with a name and a description.
func (b *Backend) translateWrite(ctx context.Context, s *session, err error, want quotaRequest, name, description string) error {
	p := asAPIError(err)
	switch {
	case p == nil:
	case p.status == http.StatusRequestEntityTooLarge:
		return b.quotaError(ctx, s, p, want)
	case p.notFound() && p.contains("Volume type"):
		return &backend.Error{Code: backend.CodeInvalid, Field: "type", Message: p.text}
	case p.status == http.StatusInternalServerError && (beyondBMP(name) || beyondBMP(description)) && b.healthy(ctx, s):
		// Other requests succeed, so it is the text, which would never be accepted.
		field := "name"
		if !beyondBMP(name) {
			field = "description"
		}
		return &backend.Error{Code: backend.CodeInvalid, Field: field, Why: backend.WhyRareCharacters, Message: "the cloud cannot store characters outside of the Basic Multilingual Plane, such as emoji"}
	}
	return b.translate(ctx, err)
}

// healthy says that Cinder and its database answer.
func (b *Backend) healthy(ctx context.Context, s *session) bool {
	_, _, err := getPage[volume](ctx, s.volume, "volumes", "volumes", url.Values{"limit": {"1"}})
	return err == nil
}

func resetStatus(to backend.Status) (string, error) {
	switch to {
	case backend.ErrorStatus:
		return "error", nil
	case backend.Available:
		return "available", nil
	}
	return "", &backend.Error{Code: backend.CodeInvalid, Field: "status", Why: backend.WhyNoStatus, Message: "neither ERROR nor AVAILABLE"}
}
