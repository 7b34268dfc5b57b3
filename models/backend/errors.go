package backend

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotFound says that there is no such object. ErrUnsupported says that this
// backend has no such ability; [Capabilities] would have told.
var (
	ErrNotFound    = errors.New("not found")
	ErrUnsupported = errors.New("not supported by this backend")
)

// ConflictError says that the object's present state forbids the call.
type ConflictError struct{ Why string }

func (e *ConflictError) Error() string { return "conflict: " + e.Why }

// BusyError says that other objects depend on this one. RequestID is the backend's
// id of a request that it refused only after accepting it; may be empty.
type BusyError struct {
	Dependents []Key
	RequestID  string
}

func (e *BusyError) Error() string { return fmt.Sprintf("busy: %d dependents", len(e.Dependents)) }

// QuotaError says that a limit of the project would be exceeded. What is the
// limited thing in the backend's words (volumes, snapshots, gigabytes).
type QuotaError struct {
	What               string
	Used, Limit, Asked int64
}

func (e *QuotaError) Error() string {
	return fmt.Sprintf("quota of %s exceeded: %d used, %d asked, limit %d", e.What, e.Used, e.Asked, e.Limit)
}

// InvalidError says that an argument can never be accepted. Field is ref, name,
// description, size_gib, snapshot, image, server, type, zone or status.
type InvalidError struct{ Field, Why string }

func (e *InvalidError) Error() string { return "invalid " + e.Field + ": " + e.Why }

// ForbiddenError says that the console's account lacks Role.
type ForbiddenError struct{ Role string }

func (e *ForbiddenError) Error() string { return "forbidden: role " + e.Role + " needed" }

// NoSpaceError says that the bytes do not fit. Need and Free are bytes; -1 where
// unknown.
type NoSpaceError struct{ Need, Free int64 }

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("no space: %d bytes needed, %d free", e.Need, e.Free)
}

// FaultError says that the disk under an object failed in Op (read, write, flush,
// trim, zero, status, cache or open): after flush what servers wrote may be lost,
// after the others a server was told an error.
type FaultError struct {
	Op  string
	Err error
}

func (e *FaultError) Error() string { return fmt.Sprintf("the disk failed in %s: %v", e.Op, e.Err) }
func (e *FaultError) Unwrap() error { return e.Err }

// ReportedError is what the backend itself reports about a request that it had
// accepted: a user message of Cinder
// (https://docs.openstack.org/cinder/latest/contributor/user_messages.html).
type ReportedError struct {
	Code      string // such as VOLUME_VOLUME_SNAPSHOT_003_015; its last part is the detail
	Text      string // English, written for users
	RequestID string
}

func (e *ReportedError) Error() string { return "reported: " + e.Text }

// UnavailableError says that the backend cannot answer now. It is worth asking
// again after RetryAfter (zero: the caller's own backoff). Cause says why, where
// that is more than silence. Unsent says that the change which was asked for has
// certainly not begun: the backend was not reached.
type UnavailableError struct {
	RetryAfter time.Duration
	Cause      Cause
	Unsent     bool
	Err        error
}

// Cause is why a backend cannot answer; empty: it is silent, or answers nonsense.
type Cause string

// The causes. All but TooMany last until somebody does something about them.
const (
	Credentials Cause = "credentials" // it refuses the console's own credentials
	Token       Cause = "token"       // it refuses what it has just given for good credentials
	TooMany     Cause = "too_many"    // it is asked too often
	Certificate Cause = "certificate" // there is no secure connection: one side's certificate is not accepted
	Clock       Cause = "clock"       // its certificate is not valid at this time, by our clock
)

func (e *UnavailableError) Error() string { return fmt.Sprintf("backend unavailable: %v", e.Err) }
func (e *UnavailableError) Unwrap() error { return e.Err }

// passing says that the same call may succeed a moment later.
func (e *UnavailableError) passing() bool {
	return e.Cause == "" || e.Cause == TooMany && e.RetryAfter > 0
}
