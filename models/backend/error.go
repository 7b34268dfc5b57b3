package backend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Code says what kind of failure an [Error] is. Metrics show it as it is.
type Code string

// The codes.
const (
	CodeNotFound    Code = "not_found"   // there is no such object
	CodeUnsupported Code = "unsupported" // this backend has no such ability, see [Capabilities]
	CodeConflict    Code = "conflict"    // the object's present state forbids the call
	CodeBusy        Code = "busy"        // other objects depend on this one
	CodeQuota       Code = "quota"       // a limit of the project would be exceeded
	CodeInvalid     Code = "invalid"     // an argument can never be accepted
	CodeForbidden   Code = "forbidden"   // the console's account lacks a role
	CodeNoSpace     Code = "no_space"    // the bytes do not fit
	CodeFault       Code = "fault"       // the disk under an object failed
	CodeDamaged     Code = "damaged"     // an object's files were removed, shortened or replaced behind the backend's back
	CodeContainer   Code = "container"   // the image holds a disk in a format, and is not the disk itself
	CodeChanged     Code = "changed"     // the image changed while it was copied
	CodeSlow        Code = "slow"        // the disk is too slow to copy what servers overwrite meanwhile
	CodeReported    Code = "reported"    // the backend reports a failure of a request that it had accepted
	CodeUnavailable Code = "unavailable" // the backend cannot answer now
)

// Error is the error of every method of the port. Which of the fields are set
// depends on Code.
type Error struct {
	Code Code

	Message   string // conflict, invalid, reported: one English sentence; without Why it is the cloud's, for users
	Why       Why    // conflict, invalid: empty when only the cloud knows; unavailable: WhyCopying, or empty
	WhyArg    string // the figure or status of Why
	RequestID string // busy, reported: the backend's id of the accepted request that failed; may be empty

	Dependents []Key // busy

	What               string // quota: the limited thing in the backend's words, such as gigabytes; container: Image.Format
	Used, Limit, Asked int64  // quota: in units of What

	Field string // invalid: ref, name, description, size_gib, snapshot, image, server, type, zone or status

	Role string // forbidden

	Path       string // damaged, changed, container: the file; no_space, fault of this machine's disk: the folder
	Damage     Damage // damaged: what is wrong with it
	Have, Want int64  // damaged by size: bytes of the file, and of the object
	// Served says of damaged that servers used the file meanwhile: what they wrote without FLUSH may be lost. Kept is
	// where all they wrote can be read until the console ends; empty: nowhere.
	Served bool
	Kept   string
	// Blocks are the numbers of the first blocks that are not what they were, BlockBytes long. Of is the name of the
	// snapshot that has them, where the error is that of its copy.
	Blocks     []int64 // a number each
	Bad        int64   // number of all such blocks
	BlockBytes int64
	Of         string

	Need, Free int64 // no_space: bytes; -1 where unknown

	Waited, Most time.Duration // slow: how long a write waited, and how long it may

	// Op of a fault is read, write, flush, trim, zero, status, cache or open. After flush, what servers wrote may be
	// lost; after the others a server got an error.
	Op string

	// EventID of a reported error, such as VOLUME_VOLUME_SNAPSHOT_003_015, ends with the detail's number
	// (https://docs.openstack.org/cinder/latest/contributor/user_messages.html).
	EventID string

	RetryAfter time.Duration // unavailable: when to ask again; zero: the caller's own backoff
	Cause      Cause         // unavailable: empty when the backend is silent or answers nonsense; fault, no_space: why the disk refuses
	Unsent     bool          // unavailable: the backend was not reached, so the change has certainly not begun

	Err error // fault, no_space, unavailable: what went wrong underneath; may be nil
}

// Damage is what is wrong with a file of an object.
type Damage string

// The damages.
const (
	Gone          Damage = "gone"        // the data is not there
	WrongSize     Damage = "size"        // the data is shorter or longer than the object
	Replaced      Damage = "replaced"    // something else is at its place
	NoDescription Damage = "description" // the data is whole, and what describes it is not
	BadBlocks     Damage = "blocks"      // blocks of a snapshot's data are not what they were: its disk changed or lost them
	BadChecksums  Damage = "checksums"   // the data is not known to be wrong, and what it would be compared with is
)

// Cause is why a backend is unavailable.
type Cause string

// The causes. All but TooMany last until an administrator acts.
const (
	Credentials Cause = "credentials" // it refuses the console's own credentials
	Token       Cause = "token"       // it refuses what it has just given for good credentials
	TooMany     Cause = "too_many"    // it is asked too often
	Certificate Cause = "certificate" // there is no secure connection: one side's certificate is not accepted
	Clock       Cause = "clock"       // its certificate is not valid at this time, by our clock
)

// The errors without details; errors.Is finds every Error of the same code.
var (
	ErrNotFound    = &Error{Code: CodeNotFound}
	ErrUnsupported = &Error{Code: CodeUnsupported}
)

// Error describes the failure in English, for logs.
func (e *Error) Error() string {
	switch e.Code {
	case CodeNotFound:
		return "not found"
	case CodeUnsupported:
		return "not supported by this backend"
	case CodeBusy:
		return fmt.Sprintf("busy: %d dependents", len(e.Dependents))
	case CodeQuota:
		return fmt.Sprintf("quota of %s exceeded: %d used, %d asked, limit %d", e.What, e.Used, e.Asked, e.Limit)
	case CodeInvalid:
		return "invalid " + e.Field + ": " + e.Message
	case CodeForbidden:
		return "forbidden: role " + e.Role + " needed"
	case CodeNoSpace:
		return fmt.Sprintf("no space: %d bytes needed, %d free", e.Need, e.Free)
	case CodeFault:
		return fmt.Sprintf("the disk failed in %s: %v", e.Op, e.Err)
	case CodeDamaged:
		return fmt.Sprintf("files changed by hand: %s: %s", e.Path, e.Damage)
	case CodeContainer:
		return fmt.Sprintf("%s is %s", e.Path, e.What)
	case CodeChanged:
		return fmt.Sprintf("%s changed while it was copied", e.Path)
	case CodeSlow:
		return fmt.Sprintf("a write waited %s for a copy, %s at most are given", e.Waited, e.Most)
	case CodeUnavailable:
		return fmt.Sprintf("backend unavailable: %v", e.Err)
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap returns Err. Errors: none of its own.
func (e *Error) Unwrap() error { return e.Err }

// Is makes errors.Is match ErrNotFound and ErrUnsupported by code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && (t == ErrNotFound || t == ErrUnsupported) && t.Code == e.Code
}

// temporary says of unavailable that the same call may succeed a moment later.
func (e *Error) temporary() bool {
	return e.Cause == "" || e.Cause == TooManyFiles || e.Cause == TooMany && e.RetryAfter > 0
}

// AsError finds the port's error in err's tree. It is nil when there is none, or
// when codes are given and its code is none of them.
func AsError(err error, codes ...Code) *Error {
	var e *Error
	if !errors.As(err, &e) || len(codes) > 0 && !slices.Contains(codes, e.Code) {
		return nil
	}
	return e
}

// ErrorCode is the word for err in metrics: its Cause, else its Code; empty for
// nil, cancelled when the caller gave up, other for what is not of the port.
func ErrorCode(err error) string {
	e := AsError(err)
	switch {
	case err == nil:
		return ""
	case e != nil && e.Cause != "":
		return string(e.Cause)
	case e != nil:
		return string(e.Code)
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return "other"
}
