// Package backend is the port between the console and whatever keeps the
// bytes: the local files of one machine, or a cloud's Cinder and Nova.
//
// Every call is idempotent, because the worker that makes it may be killed at any
// instruction and then repeats it. Calls that take time start the work (or find it
// already running) and return at once; the worker polls [Backend.Volume] and
// [Backend.Snapshot] until the status is final. Terms are those of the OpenStack
// Block Storage API v3
// (https://docs.openstack.org/api-ref/block-storage/v3/).
package backend

import (
	"context"
	"strings"
	"time"
)

// PercentUnknown is the State.Percent of work whose progress is not known.
const PercentUnknown = -1

// Key identifies an object. Ref is the console's UUIDv7, chosen before the create
// call and stored with the object for life; objects made elsewhere have none. ID is
// the backend's own id, empty until it is known.
type Key struct{ Ref, ID string }

// State is what the backend reports of an object at this moment.
type State struct {
	Status  Status
	Percent int // 0 to 100, or PercentUnknown
	// Failure is why Status is ERROR or ERROR_DELETING, or the disk error or damage of an object that is attached: an
	// [*Error]; nil when the backend does not say.
	Failure   error
	RequestID string    // the backend's id of the request that led to Status, for its logs; may be empty
	Since     time.Time // of Status; zero when unknown
	Changed   time.Time // of the last change to the object, by the backend's clock: compare it with itself only; zero when unknown
}

// Attachment is one server that a volume or snapshot is attached to. The tags are for
// the table that mirrors it.
type Attachment struct {
	ServerID   string `gorm:"primaryKey"` // Server.ID
	ServerName string
	Device     string // as the backend names it, such as /dev/vdb; may be empty
	AttachedAt int64  // microseconds of Unix time; 0: unknown
	UsedAt     int64  // microseconds of Unix time when a client of the server last connected, or was last there; 0: never, or unknown
	// DetachingAt is when a detachment began that waits for the server's clients: microseconds of Unix time; 0: none does.
	DetachingAt int64
}

// Micros is the time t as the tables have it: microseconds of Unix time, UTC; 0 for
// the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Volume is a block device of SizeGiB gibibytes.
type Volume struct {
	Key
	State
	Name        string // may be anything up to 255 characters, or empty
	Description string
	SizeGiB     int
	Source      *Key   // the snapshot it was made from, if any
	Image       string // the image it was made from, by Image.ID
	Attachments []Attachment
	Project     string
	Type, Zone  string
	CreatedAt   time.Time
	Hold        time.Duration // how long a snapshot would hold its servers' writes now; 0: not at all, or unknown
	Lock        Lock          // as SetLock was given it
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
	TakenAt     time.Time     // the instant whose bytes it has; zero: not taken yet, or unknown
	Consistency Consistency   // empty: the backend does not know
	Held        time.Duration // how long it held the writes of the volume's servers; 0: not at all, or unknown
	Attachments []Attachment  // the servers that read it; its Status says nothing of them
	Checks      Checks        // without the capability Checksums: none
	Lock        Lock          // as SetLock or CreateSnapshot was given it
}

// Lock is the console's lock of an object: until then it asks for no deletion and no
// revert. A backend with the capability Locks keeps it with the object, so that it
// outlives the console's database; it need not obey it. The zero Lock is none.
type Lock struct {
	Until  time.Time // the lock ends then
	Reason string
	By     string    // user name
	At     time.Time // when it was set
}

// Checks is what is known of whether a snapshot still has the bytes that it was made with.
type Checks struct {
	ComputedAt time.Time // of its checksums; zero: there are none yet
	CheckedAt  time.Time // when all its bytes were compared with them last; zero: never
	Damage     *Error    // CodeDamaged with BadBlocks or BadChecksums, known from then; nil: none
	Running    bool      // a check waits or is under way …
	Percent    int       // … so far; PercentUnknown while it waits
	Failure    error     // why the last check ended without an answer; nil: it did not
}

// Consistency is how consistent the bytes of a snapshot are.
type Consistency string

// The consistencies.
const (
	Clean           Consistency = "clean" // of a volume that no server was using
	CrashConsistent Consistency = "crash" // of a volume in use, at one instant: what a power cut would have left
	Inconsistent    Consistency = "none"  // of a volume in use, of different moments
)

// Connection is a client that is connected to an attached volume or snapshot now.
type Connection struct {
	ID                      string      `gorm:"primaryKey"` // unique within the backend's life
	Kind                    SubjectType `gorm:"-"`          // of Object
	Object                  Key         `gorm:"-"`
	ServerID                string
	Address                 string // of the client, as host:port
	Identity                string // the name in its certificate; may be empty
	Since, ActiveAt         int64  // microseconds of Unix time: of the connection, and of the last request on it
	BytesRead, BytesWritten int64
}

// Exporter is a Backend that serves what is attached over the network itself.
type Exporter interface {
	Backend
	// Connections lists the clients of all attached volumes and snapshots. Errors: CodeUnsupported when the server is off.
	Connections(ctx context.Context) ([]Connection, error)
	// Export is where the servers of the volume or snapshot reach it. Errors: CodeNotFound, CodeConflict when it is not attached,
	// CodeUnsupported when the server is off.
	Export(ctx context.Context, key Key) (Export, error)
	// Faults lists what the backend found out by itself: the objects whose files somebody changed behind its back, and
	// the attached ones whose disk failed a server. Their State says what is wrong. Errors: CodeUnavailable.
	Faults(ctx context.Context) (Faults, error)
}

// Faults are the objects of each kind that are in fault.
type Faults struct{ Volumes, Snapshots []Key }

// RegisteredServer is a server that was registered in the console, for backends
// with the capability OwnServers. A client that connects from one of Addresses (each
// an address or a network) is that server; over TLS its certificate must carry Name
// as well.
type RegisteredServer struct {
	ID, Name  string
	Addresses []string
}

// Quota is a limit of the console's own project. What is the backend's name of it:
// volumes, snapshots, gigabytes, or one of those for a volume type, such as
// gigabytes_ssd.
type Quota struct {
	What        string
	Used, Limit int64 // in units of What; Used includes reservations; Limit -1: none
}

// Project is an owner of objects.
type Project struct{ ID, Name string }

func (p Project) String() string {
	return strings.TrimSpace("project "+p.Name) + " (" + p.ID + ")"
}

// Server is a machine that volumes can be attached to.
type Server struct {
	ID, Name, Status, Project string
	CreatedAt                 time.Time
}

// Image is content that a new volume can start with.
type Image struct {
	ID, Name  string
	SizeBytes int64
	// Format is what the content is, in its makers' words, where that is not the disk itself: a volume of it needs
	// VolumeSpec.Raw, but of FormatISO.
	Format   string
	Unusable Unusable // empty: a volume can be made of it
}

// FormatISO is the Image.Format whose bytes are the disk.
const FormatISO = "ISO 9660"

// Unusable is why no volume can be made of an image.
type Unusable string

// The reasons.
const (
	BadName    Unusable = "name"       // its name is not UTF-8, or has a control character
	Unreadable Unusable = "unreadable" // the backend may not read it
	BadFormat  Unusable = "format"     // its name says that it is not the disk itself
)

// VolumeSpec asks for a volume. At most one of Snapshot and Image is set.
type VolumeSpec struct {
	Ref         string // the new volume's Key.Ref
	Name        string
	Description string
	SizeGiB     int
	Snapshot    *Key   // start with this snapshot's bytes
	Image       string // start with this image's bytes, by Image.ID
	Raw         bool   // whatever Image.Format is
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
	Attached     bool // the volume was attached when the user clicked
	Acknowledged bool // the user accepted that the data may be inconsistent
	Lock         Lock // that it begins with
}

// Page is one page of a listing; Next is the marker of the following page, empty
// on the last one.
type Page[T any] struct {
	Items []T
	Next  string
}

// Capabilities is what the backend can do: the console offers that and nothing
// else. It changes rarely and is cheap to read.
type Capabilities struct {
	Name        string // local or openstack
	Attach      bool   // Servers, AttachVolume and DetachVolume work
	MultiAttach bool   // an IN-USE volume can be attached to another server
	// AttachSnapshots says that AttachSnapshot and DetachSnapshot work.
	AttachSnapshots bool
	Revert          bool // RevertVolume works
	ExtendAttached  bool // an IN-USE volume can be extended
	Progress        bool // State.Percent is known while work is under way
	Repair          bool // RepairVolume and RepairSnapshot work
	Checksums       bool // snapshots get checksums by and by, restores compare them, and CheckSnapshot works
	Locks           bool // SetLock works: locks are kept with the objects
	Shared          bool // others change objects too; what vanishes was deleted elsewhere
	BusySnapshots   bool // a snapshot cannot be deleted while volumes made from it exist
	Images          bool
	OwnServers      bool      // servers are registered in the console; Servers is empty
	MaxSizeGiB      int       // of a volume; -1: unknown
	FreeBytes       int64     // free space now; -1: unknown
	Shortage        *Shortage // nothing new can be made now; nil: not so, or unknown
	Types, Zones    []string
	DataDir         string          // the folder that has the objects; empty where they are elsewhere
	Quotas          []Quota         // of Project; none where the backend has no limits
	Project         Project         // of new objects; empty where the backend has no projects
	Projects        []Project       // whose objects are listed, where that is more than Project
	Poll            []time.Duration // between polls of work under way; the last repeats
	Settle          time.Duration   // how long a create with an unknown outcome may take to become visible
	Pace            Pace
}

// Shortage is what a disk has too little of, or why it takes nothing.
type Shortage struct {
	Cause       Cause  // one of DiskCauses
	Disk        string // a folder on it
	Free, Total int64  // bytes; of NoInodes inodes
}

// ProjectNames are the names of the projects whose objects are shown, by id.
func (c Capabilities) ProjectNames() map[string]string {
	names := map[string]string{}
	for _, p := range c.Projects {
		names[p.ID] = p.Name
	}
	if c.Project.Name != "" {
		names[c.Project.ID] = c.Project.Name
	}
	return names
}

// Pace is how often to read the backend when no work is under way. Zero intervals
// are the caller's choice.
type Pace struct {
	Small   time.Duration // between reads of Capabilities, Servers and Images
	Changed time.Duration // between reads of ChangedVolumes
	Whole   time.Duration // between reads of all Volumes and Snapshots
}

// Backend stores volumes and snapshots.
//
// Every method is safe for concurrent use and may be repeated at any time with
// the same arguments: it continues or confirms what an earlier call began. Every
// error is an [*Error]; anything else is a bug or a fault of the machine and is
// retried. Beside the codes that a method names, any may answer CodeUnavailable and
// CodeForbidden, and any that changes something CodeNoSpace.
type Backend interface {
	// Capabilities is what the backend can do. Errors: CodeUnavailable.
	Capabilities(ctx context.Context) (Capabilities, error)

	// Volumes, Snapshots and Servers list in a stable order, at most limit objects, starting after marker ("": at
	// the beginning). A marker that has vanished continues after its place. Errors: CodeUnavailable.
	Volumes(ctx context.Context, marker string, limit int) (Page[Volume], error)
	Snapshots(ctx context.Context, marker string, limit int) (Page[Snapshot], error)
	Servers(ctx context.Context, marker string, limit int) (Page[Server], error)
	// Images lists what new volumes can start with. Errors: CodeUnavailable.
	Images(ctx context.Context) ([]Image, error)

	// ChangedVolumes lists the volumes that exist and changed at since (the console's clock) or later. Errors:
	// CodeUnsupported where the backend has no such list, or where Volumes is as cheap.
	ChangedVolumes(ctx context.Context, since time.Time) ([]Volume, error)

	// LastFailure is why the newest request about an object failed after it had been accepted, where State.Failure
	// does not say; never nil. Errors: CodeReported, CodeBusy; CodeNotFound when nothing was reported since then
	// (the console's clock).
	LastFailure(ctx context.Context, subject SubjectType, key Key, since time.Time) error

	// Volume finds by ID, else by Ref. Errors: CodeNotFound.
	Volume(ctx context.Context, key Key) (Volume, error)
	// Snapshot finds by ID, else by Ref. Errors: CodeNotFound.
	Snapshot(ctx context.Context, key Key) (Snapshot, error)

	// CreateVolume starts, continues or returns the volume with spec.Ref; it does not wait until it is AVAILABLE.
	// Errors: CodeNotFound when the source is gone, CodeConflict when the source is not AVAILABLE, CodeContainer unless
	// spec.Raw, CodeInvalid (also when the size does not fit the source), CodeQuota, CodeNoSpace.
	CreateVolume(ctx context.Context, spec VolumeSpec) (Volume, error)
	// CreateSnapshot starts, continues or returns the snapshot with spec.Ref; it does not wait until it is AVAILABLE.
	// From Snapshot.TakenAt on the volume may be attached, detached and extended, whatever the snapshot's status.
	// Errors: CodeNotFound when the volume is gone, CodeConflict when its status forbids it or nobody acknowledged
	// that it is attached, CodeInvalid, CodeQuota, CodeNoSpace; CodeUnavailable with WhyCopying while another snapshot of
	// the volume is being copied: then nothing was made.
	CreateSnapshot(ctx context.Context, spec SnapshotSpec) (Snapshot, error)

	// RenameVolume and RenameSnapshot set name and description; done when they return. Errors: CodeNotFound,
	// CodeInvalid, CodeConflict.
	RenameVolume(ctx context.Context, key Key, name, description string) error
	RenameSnapshot(ctx context.Context, key Key, name, description string) error

	// ExtendVolume grows a volume to sizeGiB; one that has that size already is success. Errors: CodeNotFound,
	// CodeInvalid when it is larger than that, CodeConflict, CodeQuota, CodeNoSpace.
	ExtendVolume(ctx context.Context, key Key, sizeGiB int) error

	// DeleteVolume and DeleteSnapshot start the deletion; it is over when the object is not found. Deleting what is
	// gone is success. Errors: CodeBusy with what depends on it, CodeConflict when it is attached.
	DeleteVolume(ctx context.Context, key Key) error
	DeleteSnapshot(ctx context.Context, key Key) error

	// RevertVolume restores the bytes of the volume's latest snapshot. Errors: CodeNotFound, CodeConflict,
	// CodeUnsupported without the capability Revert.
	RevertVolume(ctx context.Context, volume, snapshot Key) error

	// AttachVolume and DetachVolume start; it is over when the volume's status and attachments say so. Attaching where
	// it is attached and detaching where it is not are success. force disconnects a server that still uses the volume,
	// also where a detach without force waits for it. Errors: CodeNotFound, CodeInvalid when there is no such server,
	// CodeConflict, CodeUnsupported without the capability Attach.
	AttachVolume(ctx context.Context, key Key, serverID string) error
	DetachVolume(ctx context.Context, key Key, serverID string, force bool) error
	// AttachSnapshot and DetachSnapshot do the same for reading a snapshot, which stays AVAILABLE: any number of servers at
	// once, none of which can write. It is over when the attachments say so. An attached snapshot can be restored and
	// reverted to, but not deleted. Errors: those of AttachVolume; CodeUnsupported without the capability AttachSnapshots.
	AttachSnapshot(ctx context.Context, key Key, serverID string) error
	DetachSnapshot(ctx context.Context, key Key, serverID string, force bool) error

	// RepairVolume and RepairSnapshot set the status of a stuck object to ERROR or AVAILABLE without touching bytes.
	// Errors: CodeNotFound, CodeInvalid, CodeConflict, CodeForbidden with the role that it takes, CodeUnsupported
	// without the capability Repair.
	RepairVolume(ctx context.Context, key Key, to Status) error
	RepairSnapshot(ctx context.Context, key Key, to Status) error

	// CheckSnapshot starts, or finds under way, the comparison of all bytes of an AVAILABLE snapshot with its
	// checksums, or their first computation; Snapshot.Checks says how it goes and ends. renew accepts the bytes as they
	// are now: the checksums are computed anew, and what was known of damage is forgotten. A check that waits or is
	// under way when the backend ends is to be asked for again. Errors: CodeNotFound, CodeConflict, CodeDamaged,
	// CodeUnsupported without the capability Checksums.
	CheckSnapshot(ctx context.Context, key Key, renew bool) error

	// SetLock keeps a lock with a volume or snapshot, instead of the one before; done when it returns. Errors:
	// CodeNotFound, CodeConflict while it is being deleted, CodeUnsupported without the capability Locks.
	SetLock(ctx context.Context, subject SubjectType, key Key, lock Lock) error
}
