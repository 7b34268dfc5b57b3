package models

// Snapshot is the console's record of a Block Snapshot.
type Snapshot struct {
	Num         int64 `gorm:"primaryKey"`
	ID          string
	BackendID   string
	ProjectID   string
	VolumeID    string
	VolumeName  string // as it was when the snapshot was taken; the list shows the present one while the volume exists
	Name        string
	Description string
	Status      Status
	StatusSince int64
	Percent     int
	Failure     Failure
	RequestID   string
	SizeGiB     int `gorm:"column:size_gib"`
	Consistency Consistency
	TakenFrom   string // names of the servers the volume was attached to, one a line
	HeldUS      int64  `gorm:"column:held_us"` // how long taking it held the writes of the servers; 0: not at all, or not known
	CreatedBy   string
	EditedBy    string
	EditedAt    int64
	Origin      Origin
	CreatedAt   int64 `gorm:"autoCreateTime:false"`
	ExpiresAt   int64
	LockedUntil int64
	LockReason  string
	Version     int64

	VolumeGone bool `gorm:"->"` // the volume no longer exists
}

// Link names the snapshot.
func (s *Snapshot) Link() Link { return Link{ID: s.ID, Name: s.Name} }
