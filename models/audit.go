package models

// Outcomes of audit entries.
const (
	AuditDone     = "ok"
	AuditDenied   = "denied"
	AuditAccepted = "accepted" // as an operation, whose outcome the operation has
)

// AuditEntry records who did what, when and from where. It never holds passwords or
// tokens.
type AuditEntry struct {
	Num         int64 `gorm:"primaryKey"` // sequence number
	At          int64 // Unix microseconds
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

// TableName is the name that gorm uses.
func (AuditEntry) TableName() string { return "audit" }

// AuditPage is a page of the audit, newest first. Older and Newer are the sequence
// numbers to list the neighbouring pages from; 0 at the ends.
type AuditPage struct {
	Entries      []AuditEntry
	Older, Newer int64 // sequence numbers
}
