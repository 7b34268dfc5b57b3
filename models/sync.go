package models

// SyncState is how fresh the rows of one kind are: the result of the last resync.
// Times are Unix microseconds.
type SyncState struct {
	Kind        string  `gorm:"primaryKey"`
	SeenAt      int64   // of the last complete resync; 0: never
	FailedSince int64   // 0: the last resync succeeded
	Failure     Failure // why it failed
}

// TableName is the name that gorm uses.
func (SyncState) TableName() string { return "mirror" }
