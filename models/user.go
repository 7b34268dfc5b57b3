package models

import (
	"slices"
	"strings"
	"unicode"

	"go.mau.fi/util/confusable"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Role is what a user may do.
type Role string

// The roles, from least to most.
const (
	Viewer        Role = "viewer"
	Operator      Role = "operator"
	Administrator Role = "administrator"
)

// Roles lists the roles, from least to most.
var Roles = []Role{Viewer, Operator, Administrator}

// Allows reports whether r is needed or a higher role.
func (r Role) Allows(needed Role) bool { return r.rank() >= needed.rank() && r.rank() > 0 }

func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Operator:
		return 2
	case Administrator:
		return 3
	}
	return 0
}

// Actor is the user of a request. Project limits what the user sees and does.
type Actor struct {
	UserID, Name string
	Role         Role
	Project      string
	Address      string
	RequestID    string
}

// User is somebody who can sign in. Times are Unix microseconds.
type User struct {
	ID           string
	Name         string
	PasswordHash string
	Role         Role
	ProjectID    string
	Disabled     bool
	CreatedAt    int64 `gorm:"autoCreateTime:false"`
	SeenAt       int64 // of the last request; 0: never
}

// FirstUser is the name of the administrator that the first start creates.
const FirstUser = "admin"

// HostUser stands in the audit for whoever uses the terminal of the console's machine.
const HostUser = "(host)"

// CheckNewUserName returns what is wrong with the name of a new user beside those that
// exist; nil when it is valid. Nobody shall be taken for somebody else, so it must be
// told apart from the others, and be neither in brackets, as what is no user is written,
// nor like an address.
func CheckNewUserName(name string, existing []string) *Text {
	if invalid := ValidateUserName(name); invalid != nil {
		return invalid
	}
	if isReserved(name) {
		return &Text{Key: "user.name.reserved"}
	}
	if mixesScripts(name) {
		return &Text{Key: "user.name.mixed"}
	}
	for _, other := range append([]string{FirstUser}, existing...) {
		switch {
		case name == other && slices.Contains(existing, name):
			return &Text{Key: "user.name.taken"}
		case name != other && userNameKey(name) == userNameKey(other):
			return &Text{Key: "user.name.confusable", Args: []string{other}}
		}
	}
	return nil
}

// DoubtfulUserNames returns those of the names of users that CheckNewUserName would
// refuse now, and those that they can be taken for.
func DoubtfulUserNames(names []string) []string {
	alike := map[string][]string{userNameKey(FirstUser): {FirstUser}}
	for _, name := range names {
		if key := userNameKey(name); name != FirstUser {
			alike[key] = append(alike[key], name)
		}
	}
	var doubtful []string
	for _, name := range names {
		if isReserved(name) || mixesScripts(name) || len(alike[userNameKey(name)]) > 1 {
			doubtful = append(doubtful, name)
		}
	}
	return doubtful
}

func isReserved(name string) bool {
	folded := norm.NFKC.String(name)
	return strings.ContainsRune(folded, '@') || strings.HasPrefix(folded, "(") ||
		strings.ContainsFunc(name, func(r rune) bool { return unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) })
}

// mixesScripts reports whether Latin letters stand beside those of a script that has
// similar ones, such as Cyrillic and Greek. Those of East Asia have none.
func mixesScripts(name string) bool {
	latin := strings.ContainsFunc(name, func(r rune) bool { return unicode.Is(unicode.Latin, r) })
	return latin && strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsLetter(r) && !unicode.In(r, unicode.Latin, unicode.Hangul, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Bopomofo, unicode.Common)
	})
}

// userNameKey is equal for names that people can take for one another: whatever their
// case, width and spaces, and with letters of other scripts that look alike (Unicode's
// technical standard 39). A capital I looks like a small l, so that is one letter, too.
func userNameKey(name string) string {
	folded := cases.Fold().String(norm.NFKC.String(name))
	skeleton := strings.ToLower(confusable.Skeleton(strings.Join(strings.Fields(folded), " ")))
	return strings.ReplaceAll(skeleton, "i", "l")
}

// AuditSubjectUser is the subject type of audit entries about users.
const AuditSubjectUser = "user"

// ErrLastAdministrator is the error of a change that would leave no active
// administrator.
var ErrLastAdministrator = &Error{Code: CodeConflict, Text: NewText("user.last_admin")}

// ValidateRole returns what is wrong with a role; nil when it is one of Roles.
func ValidateRole(role Role) *Text {
	if role.rank() == 0 {
		return &Text{Key: "user.role.invalid"}
	}
	return nil
}

// AuditEntry makes an entry about the user.
func (u *User) AuditEntry(action, detail string) AuditEntry {
	return AuditEntry{Action: action, SubjectType: AuditSubjectUser, SubjectID: u.ID, SubjectName: u.Name, Detail: detail, Outcome: AuditDone}
}
