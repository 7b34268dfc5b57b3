package models

// Change records that a row was inserted, updated or deleted. Triggers write it in the
// same transaction; live pages read it.
type Change struct {
	Seq       int64 `gorm:"primaryKey"` // sequence number, in the order of the commits
	Kind      SubjectType
	ID        string
	ProjectID string
	Inserted  bool
	Deleted   bool
}
