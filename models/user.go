package models

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
