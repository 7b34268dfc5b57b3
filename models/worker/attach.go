package worker

import (
	"context"
	"slices"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// attachVolume requests the attachment after step steps are done, and follows it. When it
// fails after a creation, the volume stays.
func (w *Worker) attachVolume(ctx context.Context, op *models.Operation, s *subject, step int) (store.Progress, error) {
	o, err := s.observe(ctx)
	if err != nil {
		return w.failRefused(ctx, op, err, nil)
	}
	switch {
	case attachedTo(o, op.Params.ServerID) && o.Status == models.InUse:
		return w.succeeded(op, &o), nil
	case o.Status == models.Attaching, op.Step > step && !o.Status.Settled(): // also statuses of a cloud, such as RESERVED
		return w.requeue(op, step+1, backend.PercentUnknown, &o), nil
	case op.Step > step: // the backend had accepted it
		p := w.failAccepted(ctx, op, step+1, s.key, o, models.NewFailure("failure.attach_refused"))
		if p.State == models.Failed && op.Kind != models.VolumeAttach {
			p.Subject = withFailure(*p.Subject, models.NewFailure("failure.attach"))
		}
		return p, nil
	}
	if err := w.backend.AttachVolume(ctx, s.key, op.Params.ServerID); err != nil {
		if backend.AsError(err, backend.CodeDamaged) != nil { // found just now
			if now, err := s.observe(ctx); err == nil {
				o = now
			}
		}
		p, err := w.failRefused(ctx, op, err, &o)
		if err == nil && op.Kind != models.VolumeAttach {
			p.Subject = withFailure(o, models.NewFailure("failure.attach"))
		}
		return p, err
	}
	o.Status = models.Attaching
	return w.requeue(op, step+1, backend.PercentUnknown, &o), nil
}

func (w *Worker) detachVolume(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	o, err := s.observe(ctx)
	if err != nil {
		return w.failRefused(ctx, op, err, nil)
	}
	switch {
	case !attachedTo(o, op.Params.ServerID) && o.Status != models.Detaching:
		return w.succeeded(op, &o), nil
	case op.Step > 0 && !o.Status.Settled():
		return w.requeue(op, 1, backend.PercentUnknown, &o), nil
	case op.Step > 0: // the backend had accepted it
		return w.failAccepted(ctx, op, 1, s.key, o, models.NewFailure("failure.detach_refused")), nil
	}
	if err := w.backend.DetachVolume(ctx, s.key, op.Params.ServerID, op.Params.Force); err != nil {
		return w.failRefused(ctx, op, err, &o)
	}
	o.Status = models.Detaching
	return w.requeue(op, 1, backend.PercentUnknown, &o), nil
}

func attachedTo(o store.ObservedState, server string) bool {
	return slices.ContainsFunc(*o.Attachments, func(a backend.Attachment) bool { return a.ServerID == server })
}

// attachSnapshot requests that a server may read the snapshot, and follows it.
func (w *Worker) attachSnapshot(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	o, err := s.observe(ctx)
	if err != nil {
		return w.failRefused(ctx, op, err, nil)
	}
	o.OnlyServer = op.Params.ServerID
	switch {
	case attachedTo(o, op.Params.ServerID):
		return w.succeeded(op, &o), nil
	case op.Step > 0: // the backend had accepted it
		return w.failAccepted(ctx, op, 1, s.key, o, models.NewFailure("failure.attach_refused")), nil
	}
	if err := w.backend.AttachSnapshot(ctx, s.key, op.Params.ServerID); err != nil {
		return w.failRefused(ctx, op, err, &o)
	}
	return w.requeue(op, 1, backend.PercentUnknown, &o), nil
}

// detachSnapshot requests that the server reads no longer, and waits for its clients.
func (w *Worker) detachSnapshot(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	o, err := s.observe(ctx)
	if err != nil {
		return w.failRefused(ctx, op, err, nil)
	}
	o.OnlyServer = op.Params.ServerID
	if !attachedTo(o, op.Params.ServerID) {
		return w.succeeded(op, &o), nil
	}
	if op.Step == 0 {
		if err := w.backend.DetachSnapshot(ctx, s.key, op.Params.ServerID, op.Params.Force); err != nil {
			return w.failRefused(ctx, op, err, &o)
		}
	}
	return w.requeue(op, 1, backend.PercentUnknown, &o), nil
}
