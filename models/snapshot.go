package models

// Snapshot is the console's record of a Block Snapshot. Times are Unix microseconds.
type Snapshot struct {
	Num         int64 `gorm:"primaryKey"` // sequence number
	ID          string
	BackendID   string // empty: not created yet
	ProjectID   string
	VolumeID    string
	VolumeName  string // when the snapshot was taken; queries replace it with the volume's name while that exists
	Name        string
	Description string
	Status      Status
	StatusSince int64
	Percent     int
	Failure     Failure
	RequestID   string // the backend's id of the request that failed
	SizeGiB     int    `gorm:"column:size_gib"`
	Consistency Consistency
	TakenFrom   string // names of the servers the volume was attached to, one per line
	TakenAt     int64  // the instant whose bytes it has; 0: not taken yet
	HeldUS      int64  `gorm:"column:held_us"` // microseconds for which taking it held the servers' writes; 0: not at all, or unknown
	Checks      Checks `gorm:"embedded"`
	CreatedBy   string
	EditedBy    string
	EditedAt    int64
	Origin      Origin
	CreatedAt   int64 `gorm:"autoCreateTime:false"`
	ExpiresAt   int64
	Lock        `gorm:"embedded"`
	Version     int64 // a number that grows with each edit

	VolumeGone bool `gorm:"->"` // the volume no longer exists

	Attached // the servers that read it
}

// Checks is what is known of whether a snapshot has the bytes that it was made with. Times
// are Unix microseconds.
type Checks struct {
	ChecksummedAt int64   // microseconds, when its checksums were computed; 0: there are none yet, or the backend has none
	CheckedAt     int64   // microseconds, when its bytes were compared with them last; 0: never
	Damage        Failure // what was found then; none: nothing
}

// Equal reports whether c and d are shown alike.
func (c Checks) Equal(d Checks) bool {
	return c.ChecksummedAt == d.ChecksummedAt && c.CheckedAt == d.CheckedAt && c.Damage.Equal(d.Damage)
}

// Link is the snapshot's link.
func (s *Snapshot) Link() Link { return Link{ID: s.ID, Name: s.Name} }
