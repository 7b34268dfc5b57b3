package mirror

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// FailureOf puts an error of the backend into the words of the catalog: the key is
// failure. and the error's code. What is not an error of the port is internal: its
// text stays in the log.
func FailureOf(err error) models.Failure {
	var other *models.IdentityError
	e := backend.AsError(err)
	switch {
	case err == nil:
		return models.Failure{}
	case errors.As(err, &other):
		return models.NewFailure(models.FailureOtherProject)
	case e == nil || e.Code == backend.CodeFault:
		return models.NewFailure("failure.internal")
	case e.Code == backend.CodeReported:
		return failureReported(e)
	}
	return models.Failure{Text: models.NewText("failure."+backend.ErrorCode(e), failureArgs(e)...)}
}

// failureArgs are what the catalog's sentence for e.Code has places for.
func failureArgs(e *backend.Error) []string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	switch e.Code {
	case backend.CodeNoSpace:
		return []string{number(e.Need), number(e.Free)}
	case backend.CodeQuota:
		return []string{e.What, number(e.Used), number(e.Limit), number(e.Asked)}
	case backend.CodeConflict:
		return []string{e.Message}
	case backend.CodeBusy:
		return []string{strconv.Itoa(len(e.Dependents))}
	case backend.CodeForbidden:
		return []string{e.Role}
	case backend.CodeInvalid:
		return []string{e.Field, e.Message}
	}
	return nil
}

// knownDetails are the details of Cinder's user messages that the catalog has
// sentences for; of all others the cloud's own words are shown
// (https://docs.openstack.org/cinder/latest/contributor/user_messages.html).
var knownDetails = []string{"002", "003", "006", "007", "009", "010", "011", "012", "013", "015", "016", "021", "022", "027", "029"}

// failureReported is what the backend itself says, with the detail of its code.
func failureReported(r *backend.Error) models.Failure {
	detail := r.EventID[strings.LastIndexByte(r.EventID, '_')+1:]
	if slices.Contains(knownDetails, detail) {
		return models.NewFailure("failure.reported."+detail, r.Message, r.EventID)
	}
	return models.NewFailure("failure.reported", r.Message, r.EventID)
}

// FailureWithDependents is FailureOf with the dependents of an object of this kind named.
func (m *Mirror) FailureWithDependents(ctx context.Context, kind models.SubjectType, err error) models.Failure {
	failure := FailureOf(err)
	busy := backend.AsError(err, backend.CodeBusy)
	if busy == nil || len(busy.Dependents) == 0 {
		return failure
	}
	dependents := models.SubjectVolume
	if kind == models.SubjectVolume {
		dependents = models.SubjectSnapshot
	}
	var ids []string
	for _, key := range busy.Dependents {
		ids = append(ids, eitherID(key))
	}
	named, nameErr := m.Store.Sync.Dependents(ctx, dependents, ids)
	if nameErr != nil {
		m.log.WarnContext(ctx, "cannot name what depends on an object", "error", nameErr)
		return failure
	}
	failure.Dependents = named
	return failure
}

// Permanent says that asking again cannot help: the backend understood, and refused.
func Permanent(err error) bool {
	e := backend.AsError(err)
	return e != nil && e.Code != backend.CodeUnavailable && e.Code != backend.CodeFault
}

// observedState is what the backend's state says about a row.
func observedState(key backend.Key, state backend.State) store.ObservedState {
	o := store.ObservedState{
		BackendID: key.ID, Status: state.Status, Percent: state.Percent, RequestID: state.RequestID,
	}
	if !o.Status.InTransition() {
		o.Percent = backend.PercentUnknown
	}
	if o.Status == models.ErrorStatus || o.Status == models.ErrorDeleting {
		o.Failure = FailureOf(state.Failure)
		if o.Failure.None() {
			o.Failure = models.NewFailure(models.FailureUnknown)
		}
	}
	if o.Status == models.InUse || o.Status == models.Detaching {
		o.Failure = diskFailure(state.Failure)
	}
	return o
}

// diskFailure says what is wrong with a volume that stays in use.
func diskFailure(err error) models.Failure {
	e := backend.AsError(err)
	switch {
	case err == nil:
		return models.Failure{}
	case e != nil && e.Code == backend.CodeNoSpace:
		return models.NewFailure(models.FailureDiskFull)
	case e != nil && e.Code == backend.CodeFault && e.Op == "flush":
		return models.NewFailure(models.FailureDiskFlush)
	}
	return models.NewFailure(models.FailureDisk)
}

func observedVolume(v backend.Volume) store.ObservedState {
	o := observedState(v.Key, v.State)
	o.SizeGiB = v.SizeGiB
	attachments := append([]backend.Attachment{}, v.Attachments...) // names are filled in, and no attachment is said, too
	o.Attachments = &attachments
	return o
}

func ObserveSnapshot(s backend.Snapshot) store.ObservedState {
	o := observedState(s.Key, s.State)
	o.SizeGiB = s.SizeGiB
	if held := s.Held.Microseconds(); held > 0 {
		o.Hold = &held
	}
	return o
}
