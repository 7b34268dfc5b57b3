package mirror

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// FailureOf converts an error of the port to a text of the catalog: the key is failure.
// and the error's code. Other errors are internal: their text is only logged.
func FailureOf(err error) models.Failure {
	var identity *models.IdentityError
	e := backend.AsError(err)
	switch {
	case err == nil:
		return models.Failure{}
	case errors.As(err, &identity):
		return models.NewFailure(models.FailureOtherProject)
	case e == nil:
		return models.NewFailure("failure.internal")
	case e.Code == backend.CodeFault && e.Op == "flush":
		return models.NewFailure(models.FailureDiskFlush)
	case e.Code == backend.CodeFault:
		return models.NewFailure("failure."+string(cmp.Or(backend.DiskCause(e), backend.DiskError)), e.Path)
	case e.Code == backend.CodeReported:
		return failureReported(e)
	case e.Code == backend.CodeDamaged:
		return failureDamaged(e)
	case e.Why != "":
		return models.NewFailure("failure.why."+string(e.Why), e.Field, e.WhyArg)
	case e.Code == backend.CodeInvalid && e.Cause != "":
		return models.NewFailure("failure."+string(e.Cause), e.Path)
	}
	return models.NewFailure("failure."+backend.ErrorCode(e), failureArgs(e)...)
}

// failureArgs are the arguments of the catalog's text for e.Code.
func failureArgs(e *backend.Error) []string {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	switch {
	case e.Code == backend.CodeNoSpace && (e.Cause == "" || e.Cause == backend.NoBytes):
		return []string{number(e.Need), number(e.Free)}
	case e.Code == backend.CodeNoSpace:
		return []string{e.Path}
	}
	switch e.Code {
	case backend.CodeQuota:
		return []string{e.What, number(e.Used), number(e.Limit), number(e.Asked)}
	case backend.CodeConflict:
		return []string{e.Message}
	case backend.CodeChanged:
		return []string{filepath.Base(e.Path)}
	case backend.CodeContainer:
		return []string{filepath.Base(e.Path), e.What}
	case backend.CodeSlow:
		return []string{number(e.Waited.Milliseconds()), number(e.Most.Milliseconds())}
	case backend.CodeBusy:
		return []string{strconv.Itoa(len(e.Dependents))}
	case backend.CodeForbidden:
		return []string{e.Role}
	case backend.CodeInvalid:
		return []string{e.Field, e.Message}
	}
	return nil
}

// knownDetails are the details of Cinder's user messages that the catalog has texts for.
// Other messages are shown as the cloud wrote them
// (https://docs.openstack.org/cinder/latest/contributor/user_messages.html).
var knownDetails = []string{"002", "003", "006", "007", "009", "010", "011", "012", "013", "015", "016", "021", "022", "027", "029"}

// failureReported converts CodeReported, by the detail at the end of EventID.
func failureReported(e *backend.Error) models.Failure {
	detail := e.EventID[strings.LastIndexByte(e.EventID, '_')+1:]
	if slices.Contains(knownDetails, detail) {
		return models.NewFailure("failure.reported."+detail, e.Message, e.EventID)
	}
	return models.NewFailure("failure.reported", e.Message, e.EventID)
}

// failureDamaged converts CodeDamaged.
func failureDamaged(e *backend.Error) models.Failure {
	if e.Damage == backend.BadBlocks || e.Damage == backend.BadChecksums {
		return failureRotten(e)
	}
	key, args := models.FailureDamaged+string(e.Damage), []string{e.Path}
	switch {
	case e.Kept != "":
		key, args = key+".kept", append(args, e.Kept)
	case e.Served:
		key += ".served"
	}
	if e.Damage == backend.WrongSize {
		args = append(args, strconv.FormatInt(e.Have, 10), strconv.FormatInt(e.Want, 10))
	}
	return models.NewFailure(key, args...)
}

// failureRotten converts what a snapshot's checksums tell of its bytes: with the number of
// blocks, the numbers of the first, and the bytes of the very first.
func failureRotten(e *backend.Error) models.Failure {
	key, args := "failure."+string(e.Damage), []string{e.Path}
	if e.Damage == backend.BadBlocks && len(e.Blocks) > 0 {
		var numbers []string
		for _, n := range e.Blocks {
			numbers = append(numbers, strconv.FormatInt(n, 10))
		}
		if e.Bad > int64(len(e.Blocks)) {
			numbers = append(numbers, "…")
		}
		start := e.Blocks[0] * e.BlockBytes
		end := min(start+e.BlockBytes, e.Want) - 1
		args = append(args, strconv.FormatInt(e.Bad, 10), strings.Join(numbers, ", "), strconv.FormatInt(start, 10), strconv.FormatInt(end, 10))
	}
	if e.Of != "" {
		key, args = key+".restore", append(args, e.Of)
	}
	return models.NewFailure(key, args...)
}

// FailureWithDependents is FailureOf for a request on an object of this kind, with the
// names of its dependents.
func (m *Mirror) FailureWithDependents(ctx context.Context, kind models.SubjectType, err error) models.Failure {
	failure := FailureOf(err)
	busy := backend.AsError(err, backend.CodeBusy)
	if busy == nil || len(busy.Dependents) == 0 {
		return failure
	}
	dependentKind := models.SubjectVolume
	if kind == models.SubjectVolume {
		dependentKind = models.SubjectSnapshot
	}
	var ids []string
	for _, key := range busy.Dependents {
		ids = append(ids, eitherID(key))
	}
	dependents, findErr := m.Store.Sync.Dependents(ctx, dependentKind, ids)
	if findErr != nil {
		m.log.WarnContext(ctx, "cannot find the names of dependents", "error", findErr)
		return failure
	}
	failure.Dependents = dependents
	return failure
}

// Permanent reports whether a retry is useless until somebody has done something: the
// backend refused the request, or its disk did.
func Permanent(err error) bool {
	e := backend.AsError(err)
	return e != nil && e.Code != backend.CodeUnavailable && (e.Code != backend.CodeFault || backend.DiskCause(e) != "")
}

// diskFailure converts the disk error or damage of a volume that is IN-USE or DETACHING.
func diskFailure(err error) models.Failure {
	e := backend.AsError(err)
	switch {
	case err == nil:
		return models.Failure{}
	case e != nil && e.Code == backend.CodeDamaged:
		return failureDamaged(e)
	case e != nil && e.Code == backend.CodeFault && e.Op == "flush":
		return models.NewFailure(models.FailureDiskFlush)
	}
	return models.DiskFailure(backend.DiskCause(err))
}
