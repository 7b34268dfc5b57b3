package views

// Form is what every popup's form has. Every popup is a page of its own and works
// without JavaScript; its first heading (h1) names it.
type Form struct {
	Action   string             // where it is posted
	Key      string             // form_key: the same key sent twice makes one object
	Version  int64              // version of the edited row; 0: not sent
	ReturnTo string             // where a plain form comes back to; empty: the list
	Error    Message            // of the form as a whole
	Errors   map[string]Message // per field name
	Denial   *Denial            // the popup cannot act now: reason and blockers instead of the form
}

// Chooser is the popup that asks which object is meant, when none was selected or
// when the selection does not fit.
type Chooser struct {
	Title  Message
	Reason Message
	Form
}

// SnapshotCreate is the popup «Block Snapshot 생성». Volume nil: it begins with a
// searchable field to choose one (VolumeChoices are the answers to VolumeQuery).
type SnapshotCreate struct {
	Form
	Volume        *VolumeBrief
	VolumeQuery   string
	VolumeChoices []VolumeBrief
	Name          string
	Description   string
	Acknowledge   bool
	NameTaken     bool  // a hint, not an error
	CrashSafe     bool  // a snapshot of an attached volume is one instant
	NeedBytes     int64 // what a copy needs at most, -1 unknown
	FreeBytes     int64 // -1 unknown
	Quotas        []Quota
	SearchURL     string // answers the choices of the Volume field as a fragment, ?q=
}

// VolumeBrief is a volume in a popup.
type VolumeBrief struct {
	ID, Name, Status string
	SizeGiB          int
	Type             string   // of the storage, such as ssd; empty: the only one, or not known
	Servers          []string // names of the servers it is attached to
	Use              string   // of an attached one: never, idle, connected; empty: not known
	Clients          []string // addresses of the clients that are connected
	HoldUS           int64    // how long a snapshot would hold the writes of its servers, in microseconds
}

// SnapshotBrief is a snapshot in a popup.
type SnapshotBrief struct {
	ID, Name, Status string
	SizeGiB          int
	Volume           Link
	Consistency      string
	CreatedAt        int64
}

// Edit is the popup «… 수정» of a volume or snapshot. Theirs is set when somebody
// else changed the row meanwhile.
type Edit struct {
	Form
	Kind              string // volume, snapshot
	ID                string
	Name, Description string
	Theirs            *Theirs
}

// Theirs is the value that somebody else saved while this form was open.
type Theirs struct {
	Name, Description string
	By                string // user name; may be empty
	At                int64  // Unix microseconds
}

// Delete is the popup «… 삭제» of one object or several: Items will go, Blocked
// stay and say why.
type Delete struct {
	Form
	Kind    string // volume, snapshot
	Items   []DeleteItem
	Blocked []BlockedItem
}

// DeleteItem is one object that will be deleted.
type DeleteItem struct {
	ID, Name, Status string
	SizeGiB          int
	Volume           Link // of a snapshot
	CreatedAt        int64
	Servers          []string
}

// BlockedItem is one object that cannot be deleted, and why.
type BlockedItem struct {
	DeleteItem
	Denial Denial
}

// VolumeCreate is the popup «Volume 생성»: empty, from a snapshot (then it is the
// restore), or from an image.
type VolumeCreate struct {
	Form
	Snapshot    *SnapshotBrief // fixed source; nil: Source chooses
	Images      []ImageBrief
	Name        string
	Description string
	SizeGiB     string // as typed
	MinGiB      int
	MaxGiB      int   // 0: not known
	FreeBytes   int64 // -1: not known
	Quotas      []Quota
	Image       string
	Servers     []Link // to attach to; empty when the backend cannot
	ServerID    string
	Types       []string
	Zones       []string
	VolumeType  string
	Zone        string
	NameTaken   bool
}

// ImageBrief is an image that a volume can start with.
type ImageBrief struct {
	ID, Name  string
	SizeBytes int64
}

// Extend is the popup «Volume 확장».
type Extend struct {
	Form
	Volume    VolumeBrief
	SizeGiB   string // as typed
	MinGiB    int
	MaxGiB    int
	FreeBytes int64
	Quotas    []Quota
}

// Quota is a limit of the project, and how much of it this popup asks for.
type Quota struct {
	What        string // in the storage's words: volumes, snapshots, gigabytes, gigabytes_ssd, …
	Used, Limit int64
	Asked       int64  // with what is in the form; -1: that is not chosen yet
	PerGiB      bool   // Asked grows with the size
	Base        int    // GiB that are used already, of a volume that grows
	Type        string // the volume type that it is about; empty: any
	Hidden      bool   // another type is chosen
}

// Attach is the popup «Volume 연결»; Detach the popup «Volume 연결 해제».
type Attach struct {
	Form
	Volume   VolumeBrief
	Servers  []Link
	ServerID string
	Own      bool // servers are registered here, and find the volume by its address
}

// Detach is the popup «Volume 연결 해제». Force cuts off a server that still uses it.
type Detach struct {
	Form
	Volume   VolumeBrief
	Servers  []Link
	ServerID string
	Force    bool
	Waits    bool             // it waits until no client is connected
	Waiting  bool             // it already waits: what is left is to cut off
	Attached []AttachedServer // with who is connected
}

// Repair is the administrator's popup «복구».
type Repair struct {
	Form
	Kind             string // volume, snapshot
	ID, Name, Status string
	Since            int64
	Failure          Message
	Reason           string
	ResetTo          string // error, available
}

// Revert is the popup that puts a volume back to its latest snapshot.
type Revert struct {
	Form
	Snapshot SnapshotBrief
	Volume   VolumeBrief
}

// Alert is the short sentence after an action, in the polite live region. Sticky:
// an error, stays until closed and carries the request id.
type Alert struct {
	Message   Message
	Detail    Message // why, in the storage's words or ours
	Sticky    bool
	RequestID string
	Link      string // to the operation or object
	LinkText  Message
}
