package views

// Form is common to the forms of all popups. A popup is also a page of its own, for
// clients without JavaScript.
type Form struct {
	Action   string             // target of the POST
	Key      string             // form_key, for idempotency: one object per key
	Version  int64              // of the edited row, for optimistic locking; 0: not sent
	ReturnTo string             // target after a plain POST; empty: the list
	Error    Message            // of the form as a whole
	Errors   map[string]Message // per field name
	Denial   *Denial            // shown instead of the form
}

// Chooser is the popup shown when the selection does not fit the action.
type Chooser struct {
	Title  Message
	Reason Message
	Form
}

// SnapshotCreate is the popup «Block Snapshot 생성». Without a Volume it begins with
// a search field; VolumeChoices are the results of VolumeQuery.
type SnapshotCreate struct {
	Form
	Volume        *VolumeBrief
	VolumeQuery   string
	VolumeChoices []VolumeBrief
	Name          string
	Description   string
	LockUntil     string // YYYY-MM-DD, as typed
	Today         string // YYYY-MM-DD
	Acknowledge   bool
	NameTaken     bool  // a hint, not an error
	OneInstant    bool  // all writes of servers pass through the storage, which keeps one instant of an attached volume
	NeedBytes     int64 // at most, for a copy; -1: unknown
	FreeBytes     int64 // -1: unknown
	Quotas        []Quota
	SearchURL     string // returns the choices of the Volume field as a fragment, ?q=
}

// VolumeBrief is a volume in a popup.
type VolumeBrief struct {
	ID, Name, Status string
	SizeGiB          int
	Type             string   // volume type, such as ssd; empty: the only one, or unknown
	Servers          []string // names of the servers it is attached to
	Use              string   // of an attached one: never, idle, connected; empty: unknown
	Clients          []string // addresses of the connected clients
	WritePauseMicros int64    // expected pause of writes during a snapshot, microseconds
}

// SnapshotBrief is a snapshot in a popup.
type SnapshotBrief struct {
	ID, Name, Status string
	SizeGiB          int
	Volume           Link
	Consistency      string
	TakenAt          int64
	Damage           Message
	Servers          []string // names of the servers that read it
}

// Edit is the popup «… 수정» of a volume or snapshot. Conflict is set when somebody
// else changed the row since the form was opened.
type Edit struct {
	Form
	Kind              string // volume, snapshot
	ID                string
	Name, Description string
	NameTaken         bool // by another object: a hint, not an error
	Conflict          *EditConflict
}

// Conflict is what somebody else saved since the form was opened.
type EditConflict struct {
	Name, Description string
	By                string // user name; may be empty
	At                int64  // Unix microseconds
}

// Delete is the popup «… 삭제»: Items will be deleted, Blocked cannot be.
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
	Locked           Locked
}

// Lock is the popup «… 잠금»: Items will be locked, Blocked cannot be. It is also that of
// «잠금 해제», of one item and without Until.
type Lock struct {
	Form
	Kind      string // volume, snapshot
	Items     []DeleteItem
	Blocked   []BlockedItem
	Until     string // the last day, YYYY-MM-DD as typed
	Today     string // YYYY-MM-DD
	Reason    string
	Changed   bool // somebody else changed the object since the form was opened
	OursAlone bool // the storage and its other users do not know of locks
}

// BlockedItem is one object that the action leaves out.
type BlockedItem struct {
	DeleteItem
	Denial Denial
}

// VolumeCreate is the popup «Volume 생성»: empty, from an image, or from a snapshot
// (a restore).
type VolumeCreate struct {
	Form
	Snapshot    *SnapshotBrief // nil: not a restore
	Images      []ImageBrief
	Name        string
	Description string
	SizeGiB     string // as typed
	MinGiB      int
	MaxGiB      int   // -1: unknown
	FreeBytes   int64 // -1: unknown
	Quotas      []Quota
	Image       string
	Raw         bool   // the image's bytes as they are
	Servers     []Link // to attach to; none: the backend cannot attach
	ServerID    string
	Types       []string
	Zones       []string
	VolumeType  string
	Zone        string
	NameTaken   bool
}

// ImageBrief is an image that a volume can be created from.
type ImageBrief struct {
	ID, Name  string
	SizeBytes int64
	Format    string // empty: the disk itself
	Container bool   // it needs VolumeCreate.Raw
	Unusable  Message
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

// Attach is the popup «Volume 연결», or «Block Snapshot 연결 (읽기 전용)».
type Attach struct {
	Form
	Volume            VolumeBrief
	Snapshot          *SnapshotBrief // instead of Volume
	Servers           []Link
	ServerID          string
	RegisteredServers bool // servers are registered in this console
}

// Detach is the popup «Volume 연결 해제» or «Block Snapshot 연결 해제».
type Detach struct {
	Form
	Volume          VolumeBrief
	Snapshot        *SnapshotBrief // instead of Volume
	Servers         []Link
	ServerID        string
	Force           bool             // disconnect the clients
	WaitsForClients bool             // detaching waits until no client is connected
	AlreadyWaiting  bool             // it is waiting already: only Force is left
	Attached        []AttachedServer // with their clients
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

// Check is the administrator's popup «검증».
type Check struct {
	Form
	Snapshots []SnapshotBrief // none with All
	All       bool
	Count     int // with All: how many there are
	Renew     bool
}

// Revert is the popup that reverts a volume to its latest snapshot.
type Revert struct {
	Form
	Snapshot SnapshotBrief
	Volume   VolumeBrief
}
