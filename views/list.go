package views

// SnapshotRow is one Block Snapshot in the list. It is comparable: equal rows
// render to equal bytes, so it is the key of the cache of rendered rows together
// with the language. Nothing in it depends on who is looking.
type SnapshotRow struct {
	ID, BackendID, Name string
	Status              string // as shown, upper case
	Percent             int    // -1: not known
	Trouble             Trouble
	SizeGiB             int
	Volume              Link
	Project             Link // its owner, where several are shown
	VolumeGone          bool
	Consistency         string // clean (detached), crash (attached, one instant), smear (attached, plain copy), or empty: not known
	CreatedAt           int64  // Unix microseconds
	Since               int64  // when Status began, Unix microseconds; 0: not known
	Deny                SnapshotDenials
}

// Trouble is what went wrong with an object, in the words of the catalog or of the
// storage. It is comparable, like the rows that hold it.
type Trouble struct {
	Reason     Message
	RequestID  string       // by which the storage's logs tell more
	Dependents [3]Dependent // the first objects that stand in the way
	Count      int          // how many there are
}

// Dependent is an object that depends on another one.
type Dependent struct {
	Kind string // volume, snapshot
	Link
}

// named are the dependents that are named.
func (t Trouble) named() []Dependent { return t.Dependents[:min(t.Count, len(t.Dependents))] }

// SnapshotDenials says per action of the toolbar why this row does not take it;
// zero: it does.
type SnapshotDenials struct{ Edit, Delete, Restore, Revert, Repair Message }

// VolumeRow is one Volume in the list; like SnapshotRow it is comparable.
type VolumeRow struct {
	ID, BackendID, Name string
	Status              string
	Percent             int
	Trouble             Trouble
	SizeGiB             int
	Project             Link    // its owner, where several are shown
	Servers             [3]Link // the first servers it is attached to
	ServerCount         int
	SnapshotCount       int
	CreatedAt           int64
	Since               int64
	Note                Message // such as: who keeps it from being detached
	Deny                VolumeDenials
}

// VolumeDenials says per action why this row does not take it; zero: it does.
type VolumeDenials struct{ Snapshot, Edit, Attach, Detach, Extend, Delete, Repair Message }

// List is the state of a list page, all of which is in its URL, and its figures.
type List struct {
	Path      string // of the list, such as /storage/block-storage/snapshots
	Query     string // q
	Status    string
	Statuses  []string // the choices of the status filter
	Volume    *Link    // filter of the snapshot list
	Server    *Link    // filter of the volume list
	Project   *Link    // filter of both, where several projects are shown
	Projects  []Link   // the choices of that filter; none: one project is shown
	Sort      string   // -created_at, name, …
	Size      int      // rows per page
	Sizes     []int
	Next      string // URLs; empty at the ends
	Previous  string
	Total     int64 // of the unfiltered list
	Filtered  bool
	FoundURL  string            // where the filtered total is loaded from, after the page
	Notice    Message           // such as: the bookmarked place is gone, this is the first page
	FreshAt   int64             // Unix microseconds of the last look at the backend; 0: never
	Degraded  Degraded          // the backend cannot be read
	EventsURL string            // the live stream of this list, with the last change seen
	SortURL   map[string]string // per column key: the URL that sorts by it (toggling the direction)
	ChipURL   map[string]string // per filter (q, status, volume, server, project): the URL without it
	SizeURL   map[int]string
	CSVURL    string
}

// Degraded says that the backend cannot be read at present: what is shown is what
// it said last. The zero Degraded says that all is well.
type Degraded struct {
	Since   int64 // Unix microseconds
	Reason  Message
	FreshAt int64 // when it was read last; 0: never
}

// SnapshotList is the Block Snapshot page. Rows are rendered one by one, so that
// the cache of rendered rows can serve them: Rows[i] is the HTML of row i when it
// is not nil.
type SnapshotList struct {
	List
	Rows []RenderedRow
}

// VolumeList is the Volume page.
type VolumeList struct {
	List
	Rows []RenderedRow
}

// RenderedRow is a row that has been rendered before.
type RenderedRow struct {
	ID   string
	HTML []byte
}
