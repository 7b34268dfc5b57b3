package models

// Outcomes of audit lines.
const (
	AuditDone   = "ok"
	AuditDenied = "denied"
)

// AuditEntry says who did what, when and from where. It never holds passwords or
// tokens.
type AuditEntry struct {
	Num         int64 `gorm:"primaryKey"`
	At          int64
	ProjectID   string
	UserName    string
	Address     string
	Action      string
	SubjectType string
	SubjectID   string
	SubjectName string
	Detail      string
	Outcome     string
	RequestID   string
}

// TableName is the table's.
func (AuditEntry) TableName() string { return "audit" }

// AuditPage is a page of the audit, newest first. Older and Newer are the
// positions of the neighbouring pages for AuditAt; zero at the ends.
type AuditPage struct {
	Entries      []AuditEntry
	Older, Newer int64
}
