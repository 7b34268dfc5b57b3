package models

import (
	"blockconsole/models/backend"
	"cmp"
)

// Volume is the console's record of a block device.
type Volume struct {
	Num             int64 `gorm:"primaryKey"`
	ID              string
	BackendID       string
	ProjectID       string
	Name            string
	Description     string
	Status          Status
	StatusSince     int64
	Percent         int
	Failure         Failure
	RequestID       string
	SizeGiB         int `gorm:"column:size_gib"`
	SnapshotID      string
	ImageID         string
	VolumeType      string
	Zone            string
	Consistency     Consistency // of the snapshot it was made from
	SnapshotCount   int
	AttachmentCount int
	HoldUS          int64  `gorm:"column:hold_us"` // how long a snapshot would hold the writes of its servers now; 0: not at all, or not known
	Export          Export // where its servers find it; none where the backend does not serve volumes itself
	CreatedBy       string
	EditedBy        string
	EditedAt        int64
	Origin          Origin
	CreatedAt       int64 `gorm:"autoCreateTime:false"`
	ExpiresAt       int64
	LockedUntil     int64
	LockReason      string
	Version         int64

	Attachments []Attachment `gorm:"foreignKey:VolumeID;references:ID"`
	Connections []Connection `gorm:"-"` // of one volume, and in lists of those being detached
}

// Attachment is one server that a volume is attached to.
type Attachment struct {
	VolumeID           string `gorm:"primaryKey"`
	backend.Attachment `gorm:"embedded"`
}

// Export is where an attached volume is served.
type Export = backend.Export

// ConnectionUse is what is known of how an attached volume is used.
type ConnectionUse string

// The uses. A backend that does not serve volumes itself does not know.
const (
	UseUnknown ConnectionUse = ""
	NeverUsed  ConnectionUse = "never"     // attached, and no client has ever connected
	UsedBefore ConnectionUse = "idle"      // no client is connected at present
	Connected  ConnectionUse = "connected" // clients are connected
)

// ConnectionUse says how the volume is used by the server; of all servers when it is empty.
// The volume's connections must be loaded.
func (v *Volume) Use(server string) ConnectionUse {
	if v.Export.None() {
		return UseUnknown
	}
	for _, c := range v.Connections {
		if server == "" || c.ServerID == server {
			return Connected
		}
	}
	for _, a := range v.Attachments {
		if (server == "" || a.ServerID == server) && a.UsedAt > 0 {
			return UsedBefore
		}
	}
	return NeverUsed
}

// Clients are the addresses of the clients that are connected.
func (v *Volume) Clients() []string {
	var all []string
	for _, c := range v.Connections {
		all = append(all, c.Address)
	}
	return all
}

// Origin says how an object came to be.
type Origin string

// The origins.
const (
	ByHand     Origin = "hand"
	BySchedule Origin = "schedule"
	Elsewhere  Origin = "elsewhere" // made by others in the same backend
)

// ServerNames are the names of the servers it is attached to, as far as loaded.
func (v *Volume) ServerNames() []string {
	var names []string
	for _, a := range v.Attachments {
		names = append(names, cmp.Or(a.ServerName, a.ServerID))
	}
	return names
}

// Link names the volume.
func (v *Volume) Link() Link { return Link{ID: v.ID, Name: v.Name} }

func (v *Volume) IsAttached() bool {
	return v.Status == InUse || v.AttachmentCount > 0 || len(v.Attachments) > 0
}
