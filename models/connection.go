package models

import "blockconsole/models/backend"

// Connection is a client that uses an attached volume now, as the mirror saw it
// last.
type Connection struct {
	VolumeID           string
	backend.Connection `gorm:"embedded"`
}
