package models

import "blockconsole/models/backend"

// Connection is a client that was connected to an attached volume when the mirror
// listed them last.
type Connection struct {
	VolumeID           string
	backend.Connection `gorm:"embedded"`
}

// ServerClient is a client of a server that is connected to a volume.
type ServerClient struct{ VolumeID, VolumeName, Address, Identity string }
