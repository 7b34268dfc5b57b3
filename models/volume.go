package models

import (
	"cmp"
	"slices"

	"blockconsole/models/backend"
)

// Volume is the console's record of a block device. Times are Unix microseconds.
type Volume struct {
	Num           int64 `gorm:"primaryKey"` // sequence number
	ID            string
	BackendID     string // empty: not created yet
	ProjectID     string
	Name          string
	Description   string
	Status        Status
	StatusSince   int64
	Percent       int
	Failure       Failure
	RequestID     string // the backend's id of the request that failed
	SizeGiB       int    `gorm:"column:size_gib"`
	SnapshotID    string // the snapshot it was made from; may be empty
	ImageID       string // the image it was made from; may be empty
	VolumeType    string
	Zone          string
	Consistency   Consistency // of the snapshot it was made from
	SnapshotCount int
	HoldUS        int64 `gorm:"column:hold_us"` // microseconds for which a snapshot would hold the servers' writes now; 0: not at all, or unknown
	CreatedBy     string
	EditedBy      string
	EditedAt      int64
	Origin        Origin
	CreatedAt     int64 `gorm:"autoCreateTime:false"`
	ExpiresAt     int64
	Lock          `gorm:"embedded"`
	Version       int64 // a number that grows with each edit

	Attached
}

// Attached is which servers use a volume or snapshot, and where it is served.
type Attached struct {
	AttachmentCount int
	Export          Export // none where the backend does not serve objects itself

	Attachments []Attachment `gorm:"-"`
	Connections []Connection `gorm:"-"` // loaded for a single object, and in lists for those that a detach waits for
}

// Attachment is one server that a volume or snapshot is attached to.
type Attachment struct {
	SubjectID          string `gorm:"primaryKey"`
	backend.Attachment `gorm:"embedded"`
}

// Export is where something attached is served.
type Export = backend.Export

// ConnectionUse is whether the clients of something attached have connected.
type ConnectionUse string

// The uses.
const (
	UseUnknown ConnectionUse = ""          // the backend does not serve objects itself
	NeverUsed  ConnectionUse = "never"     // no client has connected since it was attached
	UsedBefore ConnectionUse = "idle"      // no client is connected now
	Connected  ConnectionUse = "connected" // clients are connected
)

// Use is how the server uses the object; an empty server means all of them. The
// connections must be loaded.
func (t *Attached) Use(server string) ConnectionUse {
	if t.Export.None() {
		return UseUnknown
	}
	for _, c := range t.Connections {
		if server == "" || c.ServerID == server {
			return Connected
		}
	}
	for _, a := range t.Attachments {
		if (server == "" || a.ServerID == server) && a.UsedAt > 0 {
			return UsedBefore
		}
	}
	return NeverUsed
}

// Clients returns the addresses of the connected clients.
func (t *Attached) Clients() []string {
	var all []string
	for _, c := range t.Connections {
		all = append(all, c.Address)
	}
	return all
}

// Origin is who created an object.
type Origin string

// The origins.
const (
	ByHand     Origin = "hand"
	BySchedule Origin = "schedule"
	Elsewhere  Origin = "elsewhere" // by others in the same backend
)

// ServerNames returns the names of the servers in Attachments; the id of one without a
// name.
func (t *Attached) ServerNames() []string {
	var names []string
	for _, a := range t.Attachments {
		names = append(names, cmp.Or(a.ServerName, a.ServerID))
	}
	return names
}

// AttachedTo reports whether Attachments has the server.
func (t *Attached) AttachedTo(server string) bool { return t.attachment(server) != nil }

// Leaving reports whether a detachment from the server waits for its clients.
func (t *Attached) Leaving(server string) bool {
	a := t.attachment(server)
	return a != nil && a.DetachingAt > 0
}

// LeavingClients are the addresses of the clients that detachments wait for.
func (t *Attached) LeavingClients() []string {
	var all []string
	for _, c := range t.Connections {
		if t.Leaving(c.ServerID) {
			all = append(all, c.Address)
		}
	}
	return all
}

func (t *Attached) attachment(server string) *Attachment {
	i := slices.IndexFunc(t.Attachments, func(a Attachment) bool { return a.ServerID == server })
	if i < 0 {
		return nil
	}
	return &t.Attachments[i]
}

// Link is the volume's link.
func (v *Volume) Link() Link { return Link{ID: v.ID, Name: v.Name} }

// IsAttached reports whether a server may use the volume.
func (v *Volume) IsAttached() bool {
	return v.Status == InUse || v.AttachmentCount > 0 || len(v.Attachments) > 0
}
