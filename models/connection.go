package models

import "blockconsole/models/backend"

// Connection is a client that was connected to an attached volume or snapshot when the
// mirror listed them last.
type Connection struct {
	SubjectID          string
	backend.Connection `gorm:"embedded"`
}

// ServerClient is a client of a server that is connected to a volume or snapshot.
type ServerClient struct {
	SubjectType                               SubjectType
	SubjectID, SubjectName, Address, Identity string
}

// ServerUse is what is attached to a server.
type ServerUse struct {
	Volumes, Snapshots int // number of them
}
