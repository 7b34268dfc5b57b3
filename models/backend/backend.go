// Package backend is the port between the console and whatever keeps the
// bytes: the local files of one machine, or a cloud's Cinder and Nova.
//
// The port is small and every call is idempotent, because the worker that
// drives it may be killed between any two instructions and will then simply ask
// again. Calls that take time start the work (or find it already running) and
// return at once; the worker polls [Backend.Volume] and [Backend.Snapshot] until
// the state is final. Terms are those of the OpenStack Block Storage API v3
// (https://docs.openstack.org/api-ref/block-storage/v3/).
package backend

import (
	"context"
	"time"
)

// Status is the state of a volume or snapshot in the words of the user guide,
// upper case. A backend may report a word that is not listed here; it is shown
// as it came.
type Status string

// The statuses the console itself speaks about.
const (
	Creating      Status = "CREATING"
	Available     Status = "AVAILABLE"
	InUse         Status = "IN-USE"
	Attaching     Status = "ATTACHING"
	Detaching     Status = "DETACHING"
	Extending     Status = "EXTENDING"
	Restoring     Status = "RESTORING"
	Deleting      Status = "DELETING"
	ErrorStatus   Status = "ERROR"
	ErrorDeleting Status = "ERROR_DELETING"
)

// PercentUnknown is the State.Percent of work whose progress cannot be told.
const PercentUnknown = -1

// Key names an object on both sides. Ref is the console's UUIDv7, chosen before
// the create call and carried by the object for life; ID is the backend's own
// id, empty until it is known. Objects made elsewhere have no Ref.
type Key struct{ Ref, ID string }

// State is what the backend says about an object at this moment.
type State struct {
	Status    Status
	Percent   int       // 0..100, or PercentUnknown
	Failure   error     // why Status is ERROR or ERROR_DELETING, or what is wrong with an IN-USE or DETACHING volume: one of this package's errors; nil when the backend does not tell
	RequestID string    // the backend's id of the request that led here, to find it in its logs; may be empty
	Since     time.Time // when the object entered Status; zero when unknown
	Changed   time.Time // when anything of the object changed last, by the backend's own clock, to be compared with itself only; zero when unknown
}

// Attachment is one server that a volume is attached to.
type Attachment struct {
	ServerID   string // Server.ID
	ServerName string
	Device     string // as the backend names it, such as /dev/vdb; may be empty
	AttachedAt time.Time
	UsedAt     time.Time // when a client of the server last connected; zero: never, or not known
}

// Volume is a block device of SizeGiB gibibytes.
type Volume struct {
	Key
	State
	Name        string // may be anything up to 255 characters, or empty
	Description string
	SizeGiB     int
	Source      *Key   // the snapshot it was made from
	Image       string // the image it was made from, by Image.ID
	Attachments []Attachment
	Project     string
	Type, Zone  string
	CreatedAt   time.Time
	Hold        time.Duration // how long a snapshot would hold the writes of its servers now; 0: not at all, or not known
}

// Snapshot is the content of a volume at one instant.
type Snapshot struct {
	Key
	State
	Name        string
	Description string
	SizeGiB     int // of the volume when the snapshot was taken
	Volume      Key
	Project     string
	CreatedAt   time.Time
	Held        time.Duration // how long the writes of the volume's servers were held for it; 0: not at all, or not known
}

// Connection is a client that uses an attached volume at this moment.
type Connection struct {
	ID                      string // unique within the backend's life
	Volume                  Key
	ServerID                string
	Address                 string // as host:port
	Identity                string // what it proved, such as the name in its certificate; may be empty
	Since, LastActivity     time.Time
	BytesRead, BytesWritten int64
}

// Exporter is a Backend that serves attached volumes over the network itself.
type Exporter interface {
	Backend
	// Connections lists who uses which volume at this moment.
	Connections(ctx context.Context) ([]Connection, error)
	// Export tells how the volume is reached by its servers. CodeConflict: it is not attached.
	Export(ctx context.Context, key Key) (Export, error)
}

// Export is where an attached volume is served.
type Export struct {
	Protocol string // nbd, or nbds over TLS
	Address  string // host:port as the backend listens
	Name     string // of the export
}

// RegisteredServer is a server that the console has registered, for backends with
// the capability OwnServers: who connects from Addresses (an address or a network
// each) is that server; over TLS its certificate must carry Name as well.
type RegisteredServer struct {
	ID, Name  string
	Addresses []string
}

// Subject is a kind of object.
type Subject string

// The kinds of objects that a backend tells about in [Backend.LastFailure].
const (
	SubjectVolume   Subject = "volume"
	SubjectSnapshot Subject = "snapshot"
)

// Quota is a limit of the console's own project. What is in the backend's words:
// volumes, snapshots, gigabytes, or one of those for a type, such as
// gigabytes_ssd. Used counts what is reserved, too.
type Quota struct {
	What        string
	Used, Limit int64 // Limit -1: none
}

// Project is an owner of objects.
type Project struct{ ID, Name string }

// Server is a machine that volumes can be attached to.
type Server struct {
	ID, Name, Status, Project string
	CreatedAt                 time.Time
}

// Image is raw content that a new volume can start with.
type Image struct {
	ID, Name  string
	SizeBytes int64
}

// VolumeSpec asks for a volume. At most one of Snapshot and Image is set.
type VolumeSpec struct {
	Ref         string // the new volume's Key.Ref
	Name        string
	Description string
	SizeGiB     int
	Snapshot    *Key   // start with this snapshot's bytes
	Image       string // start with this image's bytes, by Image.ID
	Project     string
	Type, Zone  string
}

// SnapshotSpec asks for a snapshot of a volume.
type SnapshotSpec struct {
	Ref          string // the new snapshot's Key.Ref
	Name         string
	Description  string
	Volume       Key
	Project      string
	Attached     bool // the volume was attached when the user asked
	Acknowledged bool // the user ticked that the data may be damaged
}

// Page is one page of a listing; Next is the marker of the following page, empty
// on the last one.
type Page[T any] struct {
	Items []T
	Next  string
}

// Capabilities tells what the backend can do, so that the console offers that
// and nothing else. It changes rarely and is cheap to ask.
type Capabilities struct {
	Name           string // "local" or "openstack"
	Attach         bool   // Servers, Attach, Detach work
	MultiAttach    bool   // an IN-USE volume can be attached to one more server
	Revert         bool
	ExtendAttached bool // an IN-USE volume can be extended
	Progress       bool // State.Percent is told while work is under way
	Repair         bool
	Shared         bool // others change objects too; what vanishes was deleted elsewhere
	CrashSafe      bool // a snapshot of an attached volume is one instant (crash-consistent), not a smear
	BusySnapshots  bool // a snapshot cannot be deleted while volumes made from it exist
	Images         bool
	OwnServers     bool  // servers are those that the console registers; Servers is empty
	MaxSizeGiB     int   // the largest volume that can ever fit; 0 = not known
	FreeBytes      int64 // what is free now; -1 = not known
	Types, Zones   []string
	Quotas         []Quota         // of Project; none where the backend has no limits
	Project        Project         // that new objects belong to; empty where the backend knows none
	Projects       []Project       // whose objects are listed, where that is more than Project
	Poll           []time.Duration // how long to wait before each look at work under way; the last repeats
	Settle         time.Duration   // how long a create with an unknown outcome may take to become visible
	Pace           Pace
}

// Pace is how often a backend wants to be read when nothing is under way; zero
// durations leave it to the reader.
type Pace struct {
	Small   time.Duration // Capabilities, Servers and Images
	Changed time.Duration // ChangedVolumes
	Whole   time.Duration // Volumes and Snapshots, all of them
}

// Backend keeps volumes and snapshots.
//
// Every method is safe for concurrent use and may be repeated at any time with
// the same arguments: it continues or confirms what an earlier call began. Every
// error is an [*Error]; anything else is a bug or a fault of the machine and is
// retried.
type Backend interface {
	Capabilities(ctx context.Context) (Capabilities, error)

	// Volumes, Snapshots, Servers and Images list in a stable order, at most limit objects at a time,
	// starting after marker ("" = from the beginning). A marker that has vanished continues after its place.
	Volumes(ctx context.Context, marker string, limit int) (Page[Volume], error)
	Snapshots(ctx context.Context, marker string, limit int) (Page[Snapshot], error)
	Servers(ctx context.Context, marker string, limit int) (Page[Server], error)
	Images(ctx context.Context) ([]Image, error)

	// ChangedVolumes lists the volumes that changed at since or later, where that is cheaper than Volumes; what is
	// gone is not told. ErrUnsupported where the backend cannot tell.
	ChangedVolumes(ctx context.Context, since time.Time) ([]Volume, error)

	// LastFailure says why the newest request about an object failed after it had been accepted, where State.Failure
	// cannot tell: CodeReported or CodeBusy. ErrNotFound: the backend has nothing to say that is newer than since.
	LastFailure(ctx context.Context, subject Subject, key Key, since time.Time) error

	// Volume finds by ID, else by Ref. ErrNotFound when there is none.
	Volume(ctx context.Context, key Key) (Volume, error)
	// Snapshot finds by ID, else by Ref. ErrNotFound when there is none.
	Snapshot(ctx context.Context, key Key) (Snapshot, error)

	// CreateVolume starts, continues or returns the volume that has spec.Ref; it never waits for it.
	// ErrNotFound: the source is gone. CodeInvalid: the size does not fit the source. CodeNoSpace, CodeQuota.
	CreateVolume(ctx context.Context, spec VolumeSpec) (Volume, error)
	// CreateSnapshot starts, continues or returns the snapshot that has spec.Ref; it never waits for it.
	CreateSnapshot(ctx context.Context, spec SnapshotSpec) (Snapshot, error)

	// RenameVolume and RenameSnapshot set name and description; done when they return.
	RenameVolume(ctx context.Context, key Key, name, description string) error
	RenameSnapshot(ctx context.Context, key Key, name, description string) error

	// ExtendVolume grows a volume to sizeGiB. A volume that already has that size is done;
	// CodeInvalid when it is larger.
	ExtendVolume(ctx context.Context, key Key, sizeGiB int) error

	// DeleteVolume and DeleteSnapshot start the deletion; it is over when the object is not found.
	// Deleting what is gone is success. CodeBusy names what depends on it; CodeConflict when it is attached.
	DeleteVolume(ctx context.Context, key Key) error
	DeleteSnapshot(ctx context.Context, key Key) error

	// RevertVolume puts the bytes of the volume's latest snapshot back. ErrUnsupported without the capability.
	RevertVolume(ctx context.Context, volume, snapshot Key) error

	// AttachVolume and DetachVolume start; the volume's status and attachments tell when it is over. Attaching where
	// it is attached and detaching where it is not are success. force cuts off a server that still uses the volume,
	// also where a detaching without force already waits for it.
	AttachVolume(ctx context.Context, key Key, serverID string) error
	DetachVolume(ctx context.Context, key Key, serverID string, force bool) error

	// RepairVolume and RepairSnapshot put a stuck object into status to (ERROR or AVAILABLE) without touching
	// bytes. CodeForbidden names the role that the backend wants.
	RepairVolume(ctx context.Context, key Key, to Status) error
	RepairSnapshot(ctx context.Context, key Key, to Status) error
}
