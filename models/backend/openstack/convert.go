package openstack

import (
	"regexp"
	"slices"
	"strings"
	"unicode"

	"blockconsole/models/backend"
)

// refName is the metadata key of [backend.Key]'s Ref.
const refName = "blockconsole_ref"

var isUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString

// volume and snapshot are those of Cinder's answers; what is missing or null is zero.
type volume struct {
	ID          string         `json:"id"`
	Status      string         `json:"status"`
	Size        int            `json:"size"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	Type        string         `json:"volume_type"`
	Zone        string         `json:"availability_zone"`
	SnapshotID  string         `json:"snapshot_id"`
	SourceID    string         `json:"source_volid"`
	Metadata    map[string]any `json:"metadata"`
	Image       map[string]any `json:"volume_image_metadata"`
	Attachments []attachment   `json:"attachments"`
	Project     string         `json:"os-vol-tenant-attr:tenant_id"`
	CreatedAt   timestamp      `json:"created_at"`
	UpdatedAt   timestamp      `json:"updated_at"`
}

type attachment struct {
	ID         string    `json:"attachment_id"`
	ServerID   string    `json:"server_id"`
	HostName   string    `json:"host_name"`
	Device     string    `json:"device"`
	AttachedAt timestamp `json:"attached_at"`
}

type snapshot struct {
	ID          string         `json:"id"`
	Status      string         `json:"status"`
	Size        int            `json:"size"`
	Name        string         `json:"name"`
	Description string         `json:"description"`
	VolumeID    string         `json:"volume_id"`
	Metadata    map[string]any `json:"metadata"`
	Project     string         `json:"os-extended-snapshot-attributes:project_id"`
	CreatedAt   timestamp      `json:"created_at"`
	UpdatedAt   timestamp      `json:"updated_at"`
}

// statuses are Cinder's statuses that have another name in the port.
var statuses = map[string]backend.Status{
	"reserved":         backend.Attaching, // by Nova, to attach it
	"downloading":      backend.Creating,  // from an image
	"reverting":        backend.Restoring,
	"restoring-backup": backend.Restoring,
	"error_extending":  backend.ErrorStatus,
	"error_restoring":  backend.ErrorStatus,
	"error_managing":   backend.ErrorStatus,
	"error_attaching":  backend.ErrorStatus,
	"error_detaching":  backend.ErrorStatus,
}

func statusOf(word string) backend.Status {
	if s, ok := statuses[word]; ok {
		return s
	}
	return backend.Status(strings.ToUpper(word))
}

var transient = []backend.Status{
	backend.Creating, backend.Attaching, backend.Detaching, backend.Extending, backend.Restoring, backend.Deleting,
}

// stateOf sets Since only for transient statuses: else the last change may have been any
// other.
func (b *Backend) stateOf(id, word string, created, updated timestamp) backend.State {
	state := backend.State{Status: statusOf(word), Percent: backend.PercentUnknown, RequestID: b.lastRequests.get(id).id, Changed: created.Time}
	if !updated.IsZero() {
		state.Changed = updated.Time
	}
	if slices.Contains(transient, state.Status) {
		state.Since = b.localTime(created.Time)
		if !updated.IsZero() {
			state.Since = b.localTime(updated.Time)
		}
	}
	return state
}

// refOf reads the Ref only from objects of our own project: users of other projects can
// write any metadata.
func (s *session) refOf(project string, metadata map[string]any) string {
	ref, ok := metadata[refName].(string)
	if !ok || !isUUID(ref) || project != "" && project != s.project.ID {
		return ""
	}
	return ref
}

func (b *Backend) volumeOf(s *session, v volume) backend.Volume {
	out := backend.Volume{
		Key: backend.Key{Ref: s.refOf(v.Project, v.Metadata), ID: v.ID}, State: b.stateOf(v.ID, v.Status, v.CreatedAt, v.UpdatedAt),
		Name: v.Name, Description: v.Description, SizeGiB: v.Size, Project: v.Project, Type: v.Type, Zone: v.Zone, CreatedAt: v.CreatedAt.Time,
	}
	if out.Project == "" {
		out.Project = s.project.ID
	}
	if v.SnapshotID != "" {
		out.Source = &backend.Key{ID: v.SnapshotID}
	}
	if id, ok := v.Image["image_id"].(string); ok && v.SnapshotID == "" {
		out.Image = id
	}
	for _, a := range v.Attachments {
		at := backend.Attachment{ServerID: a.ServerID, Device: a.Device, AttachedAt: backend.Micros(a.AttachedAt.Time)}
		if a.ServerID == "" { // attached to a host of the cloud
			at.ServerName = a.HostName
		}
		out.Attachments = append(out.Attachments, at)
	}
	return out
}

func (b *Backend) snapshotOf(s *session, sn snapshot) backend.Snapshot {
	out := backend.Snapshot{
		Key: backend.Key{Ref: s.refOf(sn.Project, sn.Metadata), ID: sn.ID}, State: b.stateOf(sn.ID, sn.Status, sn.CreatedAt, sn.UpdatedAt),
		Name: sn.Name, Description: sn.Description, SizeGiB: sn.Size, Volume: backend.Key{ID: sn.VolumeID}, Project: sn.Project, CreatedAt: sn.CreatedAt.Time,
	}
	if out.Project == "" {
		out.Project = s.project.ID
	}
	if out.Status != backend.Creating && out.Status != backend.ErrorStatus { // a cloud tells no other instant
		out.TakenAt = out.CreatedAt
	}
	return out
}

// singleLine replaces control characters by spaces: Cinder refuses a snapshot's
// description with line breaks or tabs.
func singleLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	}), " ")
}

// beyondBMP says that a text has characters beyond the Basic Multilingual Plane, which
// MySQL's utf8mb3 cannot store.
func beyondBMP(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r > 0xffff })
}

// checkLengths answers CodeInvalid for a text longer than Cinder's 255 characters.
func checkLengths(name, description string) error {
	const longest = 255
	for field, text := range map[string]string{"name": name, "description": description} {
		if len([]rune(text)) > longest {
			return &backend.Error{Code: backend.CodeInvalid, Field: field, Why: backend.WhyTooLong, WhyArg: "255", Message: "longer than 255 characters"}
		}
	}
	return nil
}
