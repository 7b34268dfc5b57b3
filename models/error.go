package models

import (
	"encoding/json"
	"errors"
	"strconv"
)

// Code is the kind of an [Error]; web/errors.go maps it to an HTTP status.
type Code string

// The codes.
const (
	CodeNotFound     Code = "not_found"
	CodeMalformed    Code = "bad_request"  // what was sent cannot be read
	CodeInvalid      Code = "invalid"      // see Fields
	CodeConflict     Code = "conflict"     // the state forbids it
	CodeStale        Code = "stale"        // somebody else changed it meanwhile
	CodeForbidden    Code = "forbidden"    // the role does not allow it
	CodeUnauthorized Code = "unauthorized" // not signed in, or wrong name or password
	CodeThrottled    Code = "throttled"    // too many attempts
	CodeUnsupported  Code = "unsupported"  // the backend lacks the capability
	CodeUnsaved      Code = "unsaved"      // the database's disk takes no writes
	CodeUnavailable  Code = "unavailable"  // not now; later
	CodeMisdirected  Code = "misdirected"  // sent to a name that is not the console's
)

// Text is a key of the text catalog with its arguments. The zero Text is none.
type Text struct {
	Key  string   `json:"key"`
	Args []string `json:"args,omitempty"`
}

// NewText makes a Text.
func NewText(key string, args ...string) Text { return Text{Key: key, Args: args} }

// Encode returns t as JSON; DecodeText reads it.
func (t Text) Encode() string {
	b, err := json.Marshal(t)
	if err != nil {
		panic(err) // strings always are JSON
	}
	return string(b)
}

// DecodeText reads what Encode wrote; the zero Text when it is something else.
func DecodeText(text string) Text {
	var t Text
	if json.Unmarshal([]byte(text), &t) != nil {
		return Text{}
	}
	return t
}

// Error is every expected refusal, with a Text for people. Any other error is
// internal and never shown.
type Error struct {
	Code   Code
	Text   Text
	Fields map[string]Text // per form field, for CodeInvalid
	Denial *Denial         // the blockers, for CodeConflict
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Text.Key }

// Is compares codes, and keys when target has one, for errors.Is.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Text.Key == "" || t.Text.Key == e.Text.Key)
}

// ErrNotFound is the error for an object that does not exist in the actor's project.
var ErrNotFound = &Error{Code: CodeNotFound, Text: NewText("error.404")}

// GoneError is ErrNotFound for an object that a user has deleted.
type GoneError struct {
	Kind     SubjectType
	Name, By string
	At       int64 // Unix microseconds
}

func (e *GoneError) Error() string { return string(CodeNotFound) + ": deleted by a user" }

// Is says that it is an ErrNotFound, for errors.Is.
func (e *GoneError) Is(target error) bool { return target == ErrNotFound }

// Unwrap lets AsError find the text. Errors: CodeNotFound.
func (e *GoneError) Unwrap() error {
	return &Error{Code: CodeNotFound, Text: NewText("gone."+string(e.Kind), e.Name, e.By, strconv.FormatInt(e.At, 10))}
}

// Invalid is the error of one bad field.
func Invalid(field string, text Text) *Error {
	return &Error{Code: CodeInvalid, Text: text, Fields: map[string]Text{field: text}}
}

// Refused is the error of a denied action.
func Refused(d *Denial) *Error { return &Error{Code: d.Code(), Text: d.Text, Denial: d} }

// IsRefusal reports whether err tells that somebody may not do it: by the role, by a
// rule, or because the password was wrong too often or once.
func IsRefusal(err error) bool {
	e := AsError(err)
	if e == nil {
		return false
	}
	switch e.Code {
	case CodeForbidden, CodeThrottled, CodeUnauthorized:
		return true
	}
	return e.Denial != nil || errors.Is(err, ErrLastAdministrator)
}

// FieldErrors collects the errors of a form by field.
type FieldErrors map[string]Text

// Add records the error of a field unless text is nil.
func (f FieldErrors) Add(field string, text *Text) {
	if text != nil {
		f[field] = *text
	}
}

// Err returns the collected errors. Errors: CodeInvalid.
func (f FieldErrors) Err() error {
	if len(f) == 0 {
		return nil
	}
	return &Error{Code: CodeInvalid, Text: NewText("form.invalid"), Fields: f}
}

// AsError returns the *Error in err's chain, or nil.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
