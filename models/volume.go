package models

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
}

// Attachment is one server that a volume is attached to.
type Attachment struct {
	VolumeID   string `gorm:"primaryKey"`
	ServerID   string `gorm:"primaryKey"`
	ServerName string
	Device     string
	AttachedAt int64
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
		names = append(names, firstNonEmpty(a.ServerName, a.ServerID))
	}
	return names
}

// Link names the volume.
func (v *Volume) Link() Link { return Link{ID: v.ID, Name: v.Name} }

func firstNonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
