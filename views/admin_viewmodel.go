package views

// Audit is the administrator's record of who did what.
type Audit struct {
	Rows     []AuditRow
	Next     string
	Previous string
}

// AuditRow is one line of the audit.
type AuditRow struct {
	At        int64
	User      string
	Address   string
	Action    string
	Subject   Link
	Kind      string
	Details   []AuditDetail
	Outcome   string
	RequestID string
	Count     int64 // how many times it happened
	LastAt    int64 // the last time; 0: once
}

// AuditDetail is one detail of an audit line. Names of objects are not recorded, so
// links show the id.
type AuditDetail struct {
	Name  Message // zero: Value alone
	Value Message // of the catalog, or Text
	Text  string
	Kind  string // of the object with the id Text: volume, snapshot
}

// Users is the administrator's list of users, with the form to add one.
type Users struct {
	Form
	Rows []UserRow
	Name string
	Role string
}

// UserRow is one user.
type UserRow struct {
	ID        string
	Name      string
	Role      string
	Disabled  bool
	CreatedAt int64
	SeenAt    int64
	Self      bool
}

// UserDetail is the administrator's page of one user.
type UserDetail struct {
	Form
	Row         UserRow
	NewPassword string // shown once
}
