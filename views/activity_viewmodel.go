package views

// Activity is the list of operations.
type Activity struct {
	Rows     []OperationRow
	State    string // filter
	Next     string
	Previous string
	Running  int
	Degraded Degraded

	EventsURL string // event stream of this list; empty: none
}

// OperationRow is one operation in the activity list and on detail pages.
type OperationRow struct {
	ID             string
	Kind           string // snapshot.create, volume.delete, …; catalog key operation.<kind>
	Subject        Link
	SubjectKind    string // volume, snapshot
	SubjectDeleted bool   // the subject no longer exists
	State          string // PENDING RUNNING SUCCEEDED FAILED CANCELLED
	Step           int
	Steps          int
	Percent        int
	Attempts       int
	Failure        Failure // its RequestID is also set without a failure
	AskedBy        string
	AskedAt        int64
	StartedAt      int64
	FinishedAt     int64
	RunAt          int64 // of the next attempt
	Cancel         bool  // may be cancelled
	Retry          bool  // may be retried
}

// OperationDetail is the page of one operation with its steps.
type OperationDetail struct {
	Row    OperationRow
	Steps  []OperationStep
	Export *Export // of the volume that it attached
	Form
}

// OperationStep is one step of an operation.
type OperationStep struct {
	Name  string // catalog key step.<name>
	State string // DONE, RUNNING, WAITING, FAILED
}
