package worker

import (
	"errors"
	"strconv"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// failureOf puts an error of the backend into the words of the catalog. What is
// not an error of the port is internal: its text stays in the log.
func failureOf(err error) models.Failure {
	say := func(key string, args ...string) models.Failure { return models.Failure{Text: models.Say(key, args...)} }
	var (
		noSpace     *backend.NoSpaceError
		quota       *backend.QuotaError
		conflict    *backend.ConflictError
		busy        *backend.BusyError
		forbidden   *backend.ForbiddenError
		invalid     *backend.InvalidError
		unavailable *backend.UnavailableError
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
		return say("failure.busy", strconv.Itoa(len(busy.Dependents)))
	case errors.As(err, &forbidden):
		return say("failure.forbidden", forbidden.Role)
	case errors.As(err, &invalid):
		return say("failure.invalid", invalid.Field, invalid.Why)
	case errors.As(err, &unavailable):
		return say("failure.unavailable")
	case errors.Is(err, backend.ErrNotFound):
		return say("failure.not_found")
	case errors.Is(err, backend.ErrUnsupported):
		return say("failure.unsupported")
	}
	return say("failure.internal")
}

// final says that asking again cannot help: the backend understood, and refused.
func final(err error) bool {
	var (
		noSpace   *backend.NoSpaceError
		quota     *backend.QuotaError
		conflict  *backend.ConflictError
		busy      *backend.BusyError
		forbidden *backend.ForbiddenError
		invalid   *backend.InvalidError
	)
	return errors.Is(err, backend.ErrNotFound) || errors.Is(err, backend.ErrUnsupported) ||
		errors.As(err, &noSpace) || errors.As(err, &quota) || errors.As(err, &conflict) || errors.As(err, &busy) ||
		errors.As(err, &forbidden) || errors.As(err, &invalid)
}

// observed is what the backend's state says about a row.
func observed(key backend.Key, state backend.State) models.Observed {
	o := models.Observed{
		BackendID: key.ID, Status: models.Status(state.Status), Percent: state.Percent, RequestID: state.RequestID,
	}
	if !o.Status.InTransition() {
		o.Percent = backend.PercentUnknown
	}
	if o.Status == models.ErrorStatus || o.Status == models.ErrorDeleting {
		o.Failure = failureOf(state.Failure)
		if o.Failure.None() {
			o.Failure = models.Failure{Text: models.Say(models.FailureUntold)}
		}
	}
	if o.Status == models.InUse || o.Status == models.Detaching {
		o.Failure = faultOf(state.Failure)
	}
	return o
}

// faultOf says what is wrong with a volume that stays in use.
func faultOf(err error) models.Failure {
	var (
		noSpace *backend.NoSpaceError
		fault   *backend.FaultError
	)
	switch {
	case err == nil:
		return models.Failure{}
	case errors.As(err, &noSpace):
		return models.Failure{Text: models.Say(models.FailureDiskFull)}
	case errors.As(err, &fault) && fault.Op == "flush":
		return models.Failure{Text: models.Say(models.FailureDiskFlush)}
	}
	return models.Failure{Text: models.Say(models.FailureDisk)}
}

func observedVolume(v backend.Volume) models.Observed {
	o := observed(v.Key, v.State)
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

func observedSnapshot(s backend.Snapshot) models.Observed {
	o := observed(s.Key, s.State)
	o.SizeGiB = s.SizeGiB
	if held := s.Held.Microseconds(); held > 0 {
		o.Hold = &held
	}
	return o
}

// with returns o with another status and reason: what the row says when the
// backend's word is not the whole story.
func with(o models.Observed, status models.Status, why models.Failure) *models.Observed {
	o.Status, o.Failure, o.Percent = status, why, backend.PercentUnknown
	return &o
}
