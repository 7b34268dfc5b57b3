package models

import (
	"strconv"
	"time"
)

// ThrottledError is the *Error of too many tries, with the time to wait.
type ThrottledError struct{ RetryAfter time.Duration }

func (e *ThrottledError) Error() string { return "too many failed sign-ins" }

// Unwrap makes AsError find what to say.
func (e *ThrottledError) Unwrap() error {
	minutes := int((e.RetryAfter + time.Minute - 1) / time.Minute)
	return &Error{Code: CodeThrottled, Text: NewText("login.throttled", strconv.Itoa(minutes))}
}

// How long a session lasts: SessionIdle after the last request, SessionMax after
// the sign-in. A request moves the first of them at most once in sessionTouch, so
// an idle session may end that much earlier.
const (
	SessionIdle = 8 * time.Hour
	SessionMax  = 7 * 24 * time.Hour
)

// Session is one signed-in browser. The cookie holds the id and a secret of which
// only a hash is kept.
type Session struct {
	ID         string
	SecretHash string
	CSRF       string `gorm:"column:csrf"`
	UserID     string
	Address    string
	Browser    string
	CreatedAt  int64 `gorm:"autoCreateTime:false"`
	SeenAt     int64
	ExpiresAt  int64
}

// SignedIn is a session and what every request needs to know of its user.
type SignedIn struct {
	Session
	Name      string
	Role      Role
	ProjectID string
	Disabled  bool
}

// Actor is the signed-in user as the one who asks from address in the request.
func (in *SignedIn) Actor(address, requestID string) Actor {
	return Actor{UserID: in.UserID, Name: in.Name, Role: in.Role, Project: in.ProjectID, Address: address, RequestID: requestID}
}

// Login is a sign-in as typed, and where it came from.
type Login struct {
	Name, Password   string
	Address, Browser string
	RequestID        string
	Replaces         string // token of the session that this browser had before; it ends
}

// ErrSignedOut says that a token opens no session.
var ErrSignedOut = &Error{Code: CodeUnauthorized, Text: NewText("error.401")}

// DummyHash is verified when no user has the typed name, so that the answer
// takes as long as for one who exists. No password has it: finding one would mean
// inverting argon2.
var DummyHash = formatHash(make([]byte, argonSaltBytes), make([]byte, argonKeyBytes))
