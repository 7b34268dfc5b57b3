package models

// Outcomes of audit entries.
const (
	AuditDone     = "ok"
	AuditDenied   = "denied"
	AuditAccepted = "accepted" // as an operation, whose outcome the operation has
)

// ActionRequest is the action of a refused request whose subject is a route; ActionRefusals
// that of refusals that are only counted.
const (
	ActionRequest  = "request"
	ActionRefusals = "refusals"
)

// AuditEntry records who did what, when and from where. It never holds passwords or
// tokens.
type AuditEntry struct {
	Num         int64 `gorm:"primaryKey"` // sequence number
	At          int64 // Unix microseconds; of the first, when it stands for several
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
	Count       int64  // how many times it happened
	LastAt      int64  // Unix microseconds of the last time; 0: it happened once
	Fold        string // unique, equal for refusals that are one line; empty: it always is one line
}

// TableName is the name that gorm uses.
func (AuditEntry) TableName() string { return "audit" }

// AuditQuery is which entries of the audit are asked for. Zero fields do not filter.
type AuditQuery struct {
	Search        string // part of a name, an address, an id or a detail
	Action        string
	Outcome       string
	From, To      int64 // Unix microseconds: at From or later, before To
	Before, After int64 // sequence numbers; at most one is set
	Limit         int   // number of entries
}

// Filtered reports whether q may leave entries out.
func (q AuditQuery) Filtered() bool {
	return q.Search != "" || q.Action != "" || q.Outcome != "" || q.From > 0 || q.To > 0
}

// AuditOutcomes are the outcomes that entries have.
var AuditOutcomes = []string{AuditDone, AuditAccepted, AuditDenied}

// AuditPage is a page of the audit, newest first. Older and Newer are the sequence
// numbers to list the neighbouring pages from; 0 at the ends.
type AuditPage struct {
	Entries      []AuditEntry
	Older, Newer int64 // sequence numbers
}
