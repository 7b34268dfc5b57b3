package worker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// failureOf puts an error of the backend into the words of the catalog. What is
// not an error of the port is internal: its text stays in the log.
func failureOf(err error) models.Failure {
	say := func(key string, args ...string) models.Failure {
		return models.Failure{Text: models.NewText(key, args...)}
	}
	var (
		noSpace     *backend.NoSpaceError
		quota       *backend.QuotaError
		conflict    *backend.ConflictError
		busy        *backend.BusyError
		forbidden   *backend.ForbiddenError
		invalid     *backend.InvalidError
		unavailable *backend.UnavailableError
		reported    *backend.ReportedError
		other       *models.IdentityError
	)
	switch {
	case err == nil:
		return models.Failure{}
	case errors.As(err, &noSpace):
		return say("failure.no_space", strconv.FormatInt(noSpace.Need, 10), strconv.FormatInt(noSpace.Free, 10))
	case errors.As(err, &quota):
		return say("failure.quota", quota.What, strconv.FormatInt(quota.Used, 10), strconv.FormatInt(quota.Limit, 10), strconv.FormatInt(quota.Asked, 10))
	case errors.As(err, &conflict):
		return say("failure.conflict", conflict.Why)
	case errors.As(err, &busy):
		return say(failureBusy, strconv.Itoa(len(busy.Dependents)))
	case errors.As(err, &forbidden):
		return say("failure.forbidden", forbidden.Role)
	case errors.As(err, &invalid):
		return say("failure.invalid", invalid.Field, invalid.Why)
	case errors.As(err, &reported):
		return failureReported(reported)
	case errors.As(err, &unavailable):
		return say("failure." + cmp.Or(string(unavailable.Cause), "unavailable"))
	case errors.As(err, &other):
		return say(models.FailureOtherProject)
	case errors.Is(err, backend.ErrNotFound):
		return say("failure.not_found")
	case errors.Is(err, backend.ErrUnsupported):
		return say("failure.unsupported")
	}
	return say("failure.internal")
}

// knownDetails are the details of Cinder's user messages that the catalog has
// sentences for; of all others the cloud's own words are shown
// (https://docs.openstack.org/cinder/latest/contributor/user_messages.html).
var knownDetails = []string{"002", "003", "006", "007", "009", "010", "011", "012", "013", "015", "016", "021", "022", "027", "029"}

// failureReported is what the backend itself says, with the detail of its code.
func failureReported(r *backend.ReportedError) models.Failure {
	detail := r.Code[strings.LastIndexByte(r.Code, '_')+1:]
	if slices.Contains(knownDetails, detail) {
		return models.Failure{Text: models.NewText("failure.reported."+detail, r.Text, r.Code)}
	}
	return models.Failure{Text: models.NewText("failure.reported", r.Text, r.Code)}
}

// failureWithDependents is failureOf with the dependents of an object of this kind named.
func (w *Worker) failureWithDependents(ctx context.Context, kind models.SubjectType, err error) models.Failure {
	failure := failureOf(err)
	var busy *backend.BusyError
	if !errors.As(err, &busy) || failure.Key != failureBusy || len(busy.Dependents) == 0 {
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
	named, nameErr := w.store.Dependents(ctx, dependents, ids)
	if nameErr != nil {
		w.log.WarnContext(ctx, "cannot name what depends on an object", "error", nameErr)
		return failure
	}
	failure.Dependents = named
	return failure
}

const failureBusy = "failure.busy"

// permanent says that asking again cannot help: the backend understood, and refused.
func permanent(err error) bool {
	var (
		noSpace   *backend.NoSpaceError
		quota     *backend.QuotaError
		conflict  *backend.ConflictError
		busy      *backend.BusyError
		forbidden *backend.ForbiddenError
		invalid   *backend.InvalidError
		reported  *backend.ReportedError
	)
	return errors.Is(err, backend.ErrNotFound) || errors.Is(err, backend.ErrUnsupported) ||
		errors.As(err, &noSpace) || errors.As(err, &quota) || errors.As(err, &conflict) || errors.As(err, &busy) ||
		errors.As(err, &forbidden) || errors.As(err, &invalid) || errors.As(err, &reported)
}

// observedState is what the backend's state says about a row.
func observedState(key backend.Key, state backend.State) store.ObservedState {
	o := store.ObservedState{
		BackendID: key.ID, Status: models.Status(state.Status), Percent: state.Percent, RequestID: state.RequestID,
	}
	if !o.Status.InTransition() {
		o.Percent = backend.PercentUnknown
	}
	if o.Status == models.ErrorStatus || o.Status == models.ErrorDeleting {
		o.Failure = failureOf(state.Failure)
		if o.Failure.None() {
			o.Failure = models.Failure{Text: models.NewText(models.FailureUnknown)}
		}
	}
	if o.Status == models.InUse || o.Status == models.Detaching {
		o.Failure = diskFailure(state.Failure)
	}
	return o
}

// diskFailure says what is wrong with a volume that stays in use.
func diskFailure(err error) models.Failure {
	var (
		noSpace *backend.NoSpaceError
		fault   *backend.FaultError
	)
	switch {
	case err == nil:
		return models.Failure{}
	case errors.As(err, &noSpace):
		return models.Failure{Text: models.NewText(models.FailureDiskFull)}
	case errors.As(err, &fault) && fault.Op == "flush":
		return models.Failure{Text: models.NewText(models.FailureDiskFlush)}
	}
	return models.Failure{Text: models.NewText(models.FailureDisk)}
}

func observedVolume(v backend.Volume) store.ObservedState {
	o := observedState(v.Key, v.State)
	o.SizeGiB = v.SizeGiB
	attachments := make([]models.Attachment, 0, len(v.Attachments))
	for _, a := range v.Attachments {
		attachments = append(attachments, models.Attachment{
			ServerID: a.ServerID, ServerName: a.ServerName, Device: a.Device,
			AttachedAt: models.Micros(a.AttachedAt), UsedAt: models.Micros(a.UsedAt),
		})
	}
	o.Attachments = &attachments
	return o
}

func observedSnapshot(s backend.Snapshot) store.ObservedState {
	o := observedState(s.Key, s.State)
	o.SizeGiB = s.SizeGiB
	if held := s.Held.Microseconds(); held > 0 {
		o.Hold = &held
	}
	return o
}

// withStatus returns o with another status and reason: what the row says when the
// backend's word is not the whole story.
func withStatus(o store.ObservedState, status models.Status, why models.Failure) *store.ObservedState {
	o.Status, o.Failure, o.Percent = status, why, backend.PercentUnknown
	return &o
}
