package views

// SnapshotRow is one Block Snapshot in the list. It is comparable and independent of
// the user: with the language it is the key of the cache of rendered rows.
type SnapshotRow struct {
	ID, BackendID, Name string
	Status              string // as shown, upper case
	Percent             int    // -1: unknown
	Failure             Failure
	SizeGiB             int
	Volume              Link
	Project             Link // set where several projects are shown
	VolumeDeleted       bool
	Consistency         string  // clean (detached), crash (attached, one instant), none (attached, of different moments); empty: unknown
	CreatedAt           int64   // Unix microseconds
	TakenAt             int64   // the instant that it holds, Unix microseconds; 0: not yet
	Since               int64   // of Status, Unix microseconds; 0: unknown
	Damage              Message // that its data or its checksums were found damaged; empty: not so
	Note                Message // which servers read it, or which client delays detaching
	NoteQuiet           bool    // nothing is amiss: servers read it
	Locked              Locked
	Deny                SnapshotDenials
}

// VolumeRow is one Volume in the list, comparable like SnapshotRow.
type VolumeRow struct {
	ID, BackendID, Name string
	Status              string
	Percent             int
	Failure             Failure
	SizeGiB             int
	Project             Link    // set where several projects are shown
	Servers             [3]Link // the first ones it is attached to
	ServerCount         int
	SnapshotCount       int
	CreatedAt           int64
	Since               int64
	Note                Message // such as: which client delays detaching
	Locked              Locked
	Deny                VolumeDenials
}

// Locked is a lock against deletion; zero: none, or it has run out.
type Locked struct {
	Until  int64 // the end of its last day, Unix microseconds
	Reason string
	By     string // user name
	At     int64  // when it was set, Unix microseconds
}

// Failure is the last failure of an object. It is comparable, like the rows.
type Failure struct {
	Reason     Message
	RequestID  string       // of the storage, for its logs
	Dependents [3]Dependent // the first objects that block it
	Count      int          // of all dependents
}

// Dependent is an object that depends on another one.
type Dependent struct {
	Kind string // volume, snapshot
	Link
}

// namedDependents are those in Dependents.
func (t Failure) namedDependents() []Dependent { return t.Dependents[:min(t.Count, len(t.Dependents))] }

// SnapshotDenials is per action why it is denied for this row; zero: allowed.
type SnapshotDenials struct{ Edit, Delete, Restore, Revert, Repair, Check, Attach, Detach, Lock, Unlock Message }

// VolumeDenials is per action why it is denied for this row; zero: allowed.
type VolumeDenials struct{ Snapshot, Edit, Attach, Detach, Extend, Delete, Repair, Lock, Unlock Message }

// List is the state of a list page, all of it from the URL, and its figures.
type List struct {
	Path             string // of the list, such as /storage/block-storage/snapshots
	Query            string // q
	Status           string
	Statuses         []string // the choices of the status filter
	Volume           *Link    // filter of the snapshot list
	Server           *Link    // filter of both lists
	Project          *Link    // filter of both lists
	Projects         []Link   // the choices of that filter; none: there is one project
	Locked           bool     // filter: only what is locked
	Sort             string   // -created_at, name, …
	Size             int      // rows per page
	Sizes            []int
	Next             string // URLs; empty at the ends
	Previous         string
	Total            int64 // of the unfiltered list
	Filtered         bool
	FilteredCountURL string            // returns the filtered total, loaded after the page
	Notice           Message           // such as: the cursor is invalid, this is the first page
	LastReadAt       int64             // when the backend was read last, Unix microseconds; 0: never
	Degraded         Degraded          // the backend cannot be read
	EventsURL        string            // the event stream of this list, after the last change shown
	SortURL          map[string]string // per column: the URL that sorts by it or reverses the order
	ChipURL          map[string]string // per filter (q, status, locked, volume, server, project): the URL without it
	SizeURL          map[int]string
	CSVURL           string
}

// Degraded is set while the backend cannot be read; the page shows the last state.
type Degraded struct {
	Since      int64 // Unix microseconds
	Reason     Message
	LastReadAt int64 // when it was read last; 0: never
}

// SnapshotList is the page of Block Snapshots. Its rows come rendered, from a cache.
type SnapshotList struct {
	List
	Rows []RenderedRow
}

// VolumeList is the page of Volumes.
type VolumeList struct {
	List
	Rows []RenderedRow
}

// RenderedRow is the HTML of one row.
type RenderedRow struct {
	ID   string
	HTML []byte
}
