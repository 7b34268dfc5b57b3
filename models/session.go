package models

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
)

// ThrottledError is CodeThrottled with the time to wait, RetryAfter.
type ThrottledError struct{ RetryAfter time.Duration }

func (e *ThrottledError) Error() string { return "too many failed sign-ins" }

// Unwrap lets AsError find the text. Errors: CodeThrottled.
func (e *ThrottledError) Unwrap() error {
	minutes := int((e.RetryAfter + time.Minute - 1) / time.Minute)
	return &Error{Code: CodeThrottled, Text: NewText("login.throttled", strconv.Itoa(minutes))}
}

// A session expires SessionIdle after its last request, and SessionMax after the
// sign-in. The store records requests once a minute, so an idle session may end that
// much earlier.
const (
	SessionIdle = 8 * time.Hour
	SessionMax  = 7 * 24 * time.Hour
)

// SessionsPerUser is how many sessions a user has at most, unless a setting says
// otherwise. One more sign-in ends the oldest.
const SessionsPerUser = 20

// Session is one signed-in browser. The cookie has the id and a secret, the table only
// a hash of the secret. Times are Unix microseconds.
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

// SignedIn is a session with what every request needs of its user.
type SignedIn struct {
	Session
	Name      string
	Role      Role
	ProjectID string
	Disabled  bool
	Device    string `gorm:"-"` // of a sign-in: the browser's token from now on
	Mark      string // PersonMark of the user
}

// PersonMark marks the forms that a person gets, so that what was typed is shown again
// to nobody else. It is keyed with the hash of the password, which only the database
// has: a new password makes a new mark.
func PersonMark(userID, passwordHash string) string {
	mac := hmac.New(sha256.New, []byte(passwordHash))
	mac.Write([]byte(userID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// IsPerson says that a form with the mark was made for this user.
func (in *SignedIn) IsPerson(mark string) bool {
	return in.Mark != "" && subtle.ConstantTimeCompare([]byte(mark), []byte(in.Mark)) == 1
}

// Actor returns the signed-in user as the actor of a request from address.
func (in *SignedIn) Actor(address, requestID string) Actor {
	return Actor{UserID: in.UserID, Name: in.Name, Role: in.Role, Project: in.ProjectID, Address: address, RequestID: requestID}
}

// Login is the input of a sign-in.
type Login struct {
	Name, Password   string
	Address, Browser string // of the client
	RequestID        string
	Replaces         string // token of the browser's previous session, which ends; may be empty
	Device           string // token of the browser, see DeviceKey; may be empty
}

// DeviceKey makes and checks the tokens by which the console recognizes a browser that
// has signed a user in before. A token is the browser's id and a code for each of these
// users, the last first; it opens nothing, but has its own limit of wrong passwords, so
// that strangers cannot use up the user's.
type DeviceKey []byte

const (
	deviceUsers  = 8 // codes in a token; the one that was used longest ago is dropped
	deviceIDSize = 26
)

// Add returns the token of a browser that has signed the user in. token is the one it
// had; empty or invalid: it gets an id.
func (k DeviceKey) Add(token, userID string) string {
	parts := strings.Split(token, ".")
	if len(parts[0]) != deviceIDSize {
		parts = []string{rand.Text()}
	}
	code := k.code(parts[0], userID)
	fresh := []string{parts[0], code}
	for _, other := range parts[1:] {
		if len(other) == len(code) && other != code && len(fresh) <= deviceUsers {
			fresh = append(fresh, other)
		}
	}
	return strings.Join(fresh, ".")
}

// Device returns the id of the browser that has signed the user in before; empty when
// the token does not say so.
func (k DeviceKey) Device(token, userID string) string {
	parts := strings.SplitN(token, ".", deviceUsers+2)
	code, known := []byte(k.code(parts[0], userID)), 0
	for _, other := range parts[1:] {
		known |= subtle.ConstantTimeCompare(code, []byte(other))
	}
	if known == 0 {
		return ""
	}
	return parts[0]
}

func (k DeviceKey) code(device, userID string) string {
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(device + "." + userID))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// ErrSignedOut is the error of a token without a valid session.
var ErrSignedOut = &Error{Code: CodeUnauthorized, Text: NewText("error.401")}

// DummyHash is verified when no user has the typed name, so that the response takes as
// long as for an existing user. No known password matches it.
var DummyHash = formatHash(make([]byte, argonSaltBytes), make([]byte, argonKeyBytes))
