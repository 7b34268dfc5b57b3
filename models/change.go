package models

// Change says that a row was inserted, changed or deleted. Triggers write it in
// the transaction of the change; live pages read it.
type Change struct {
	Seq       int64 `gorm:"primaryKey"`
	Kind      SubjectType
	ID        string
	ProjectID string
	Inserted  bool
	Deleted   bool
}
