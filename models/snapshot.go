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
	HeldUS      int64  `gorm:"column:held_us"` // microseconds for which taking it held the servers' writes; 0: not at all, or unknown
	CreatedBy   string
	EditedBy    string
	EditedAt    int64
	Origin      Origin
	CreatedAt   int64 `gorm:"autoCreateTime:false"`
	ExpiresAt   int64
	Lock        `gorm:"embedded"`
	Version     int64 // a number that grows with each edit

	VolumeGone bool `gorm:"->"` // the volume no longer exists
}

// Link is the snapshot's link.
func (s *Snapshot) Link() Link { return Link{ID: s.ID, Name: s.Name} }
