package models

// SyncState says how fresh the copy of the backend's objects is.
type SyncState struct {
	Kind        string `gorm:"primaryKey"`
	SeenAt      int64
	FailedSince int64
	Failure     Failure
}

// TableName is the table's.
func (SyncState) TableName() string { return "mirror" }
