package views

// VolumeDetail is the page of one Volume.
type VolumeDetail struct {
	Row         VolumeRow
	Description string
	Source      *Link // the snapshot it was made from
	SourceGone  bool  // that snapshot no longer exists
	SourceImage string
	SourceTaken string // consistency of that snapshot, repeated here
	Project     Link
	Type, Zone  string
	CreatedBy   string
	Attached    []AttachedServer
	Export      *Export       // nil: the storage does not serve it itself
	Snapshots   []SnapshotRow // the newest ones
	Operations  []OperationRow
	Deny        VolumeDenials
	EventsURL   string // the live stream of the volumes; empty: none
	Degraded    Degraded
}

// SnapshotDetail is the page of one Block Snapshot.
type SnapshotDetail struct {
	Row         SnapshotRow
	Description string
	Project     Link
	CreatedBy   string
	TakenFrom   []string      // servers the volume was attached to
	Volumes     []VolumeBrief // made from it
	Operations  []OperationRow
	Deny        SnapshotDenials
	HeldUS      int64  // how long taking it held the writes of the servers, in microseconds
	EventsURL   string // the live stream of the snapshots; empty: none
	Degraded    Degraded
}

// OperationRow is one operation in the activity list and on detail pages.
type OperationRow struct {
	ID          string
	Kind        string // snapshot.create, volume.delete, … : catalog key operation.<kind>
	Subject     Link
	SubjectKind string // volume, snapshot
	Gone        bool   // the subject no longer exists
	State       string // PENDING RUNNING SUCCEEDED FAILED CANCELLED
	Step        int
	Steps       int
	Percent     int
	Attempts    int
	Trouble     Trouble // with the backend's request id, also where nothing went wrong
	AskedBy     string
	AskedAt     int64
	StartedAt   int64
	FinishedAt  int64
	RunAt       int64 // next try
	Cancel      bool  // can be cancelled now
	Retry       bool  // can be tried again now
}

// Activity is the list of operations.
type Activity struct {
	Rows     []OperationRow
	State    string // filter
	Next     string
	Previous string
	Running  int
	Degraded Degraded

	EventsURL string // the live stream of this list; empty: none
}

// OperationDetail is the page of one operation: its steps and what happened.
type OperationDetail struct {
	Row    OperationRow
	Steps  []OperationStep
	Export *Export // of the volume that it has attached
	Form
}

// OperationStep is one visible step of an operation.
type OperationStep struct {
	Name  string // catalog key step.<name>
	State string // DONE, RUNNING, WAITING, FAILED
}

// AuditRow is one line of the audit.
type AuditRow struct {
	At        int64
	User      string
	Address   string
	Action    string
	Subject   Link
	Kind      string
	Facts     []AuditFact
	Outcome   string
	RequestID string
}

// AuditFact is one thing that an audit line tells. Names of objects are not kept
// there, so a link shows the id.
type AuditFact struct {
	Name  Message // zero: Value says it all
	Value Message // of the catalog, or Text
	Text  string
	Kind  string // of an object whose id Text is: volume, snapshot
}

// Audit is the administrator's record of who did what.
type Audit struct {
	Rows     []AuditRow
	Next     string
	Previous string
}

// ErrorPage is any page that is an error: status, a sentence, what to do, and the id to
// tell the administrator.
type ErrorPage struct {
	Status    int
	Message   Message
	Guidance  Message
	RequestID string
	Back      string
}

// Login is the sign-in page.
type Login struct {
	Form
	Username string
	Next     string
}

// Account is the user's own page: password and sessions.
type Account struct {
	Form
	Sessions []SessionRow
}

// SessionRow is one signed-in browser.
type SessionRow struct {
	ID               string
	Address, Browser string
	CreatedAt        int64
	SeenAt           int64
	Current          bool
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
