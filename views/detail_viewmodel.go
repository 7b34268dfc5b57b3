package views

// VolumeDetail is the page of one Volume.
type VolumeDetail struct {
	Row           VolumeRow
	Description   string
	Source        *Link // the snapshot it was created from
	SourceDeleted bool  // that snapshot no longer exists
	SourceImage   string
	SourceTaken   string // consistency of that snapshot
	Project       Link
	Type, Zone    string
	CreatedBy     string
	Attached      []AttachedServer
	Export        *Export       // nil: this console does not serve it
	Snapshots     []SnapshotRow // the newest ones
	Operations    []OperationRow
	Deny          VolumeDenials
	EventsURL     string // event stream of the volumes; empty: none
	Degraded      Degraded
}

// SnapshotDetail is the page of one Block Snapshot.
type SnapshotDetail struct {
	Row              SnapshotRow
	Description      string
	Project          Link
	CreatedBy        string
	TakenFrom        []string         // servers that the volume was attached to
	Attached         []AttachedServer // that read it
	Export           *Export          // nil: this console does not serve it
	Volumes          []VolumeBrief    // created from it
	Operations       []OperationRow
	Deny             SnapshotDenials
	WritePauseMicros int64  // how long writes were paused for it, microseconds
	ChecksummedAt    int64  // when its checksums were computed; 0: there are none yet
	CheckedAt        int64  // when its bytes were compared with them last; 0: never
	EventsURL        string // event stream of the snapshots; empty: none
	Degraded         Degraded
}
