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

// Allows says whether r may do what needs the role needed.
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

// Actor is who asks for something: a user, from an address, within one request.
// Everything is scoped by Project.
type Actor struct {
	UserID, Name string
	Role         Role
	Project      string
	Address      string
	RequestID    string
}

// User is somebody who can sign in.
type User struct {
	ID           string
	Name         string
	PasswordHash string
	Role         Role
	ProjectID    string
	Disabled     bool
	CreatedAt    int64 `gorm:"autoCreateTime:false"`
	SeenAt       int64
}

// FirstUser is the name of the administrator that the first start makes.
const FirstUser = "admin"

// AuditSubjectUser is the subject type of audit lines about users.
const AuditSubjectUser = "user"

// ErrLastAdministrator refuses what would leave nobody who can add users.
var ErrLastAdministrator = &Error{Code: CodeConflict, Text: NewText("user.last_admin")}

func ValidateRole(role Role) *Text {
	if role.rank() == 0 {
		return &Text{Key: "user.role.invalid"}
	}
	return nil
}

func (u *User) AuditEntry(action, detail string) AuditEntry {
	return AuditEntry{Action: action, SubjectType: AuditSubjectUser, SubjectID: u.ID, SubjectName: u.Name, Detail: detail, Outcome: AuditDone}
}
