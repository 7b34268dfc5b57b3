package openstacktest

import (
	"maps"
	"slices"
	"time"
)

type volumeType struct {
	id, name    string
	multiattach bool
}

// volume is a row of Cinder's volumes.
type volume struct {
	id, user, project         string
	name, description         *string
	status                    string
	size                      int
	kind                      *volumeType
	zone, host                string
	snapshot, source, imageID string
	metadata                  map[string]string
	created, updated          time.Time
	attachments               []*attachment
	task                      *task
	data                      []byte
}

// attachment is a reservation until it is attached.
type attachment struct {
	id, server, device string
	attached           time.Time // zero: reserved
	detaching          bool
}

type snapshot struct {
	id, user, project string
	name, description *string
	volume            string
	status, progress  string
	size              int
	kind              *volumeType
	metadata          map[string]string
	created, updated  time.Time
	task              *task
	data              []byte
}

type server struct {
	id, name, status, project, user, image string
	created                                time.Time
}

type image struct {
	id, name, status, owner string
	content                 []byte
	created                 time.Time
}

type message struct {
	id, project, kind, resource, event, text, request string
	created                                           time.Time
}

// Volume is a volume to add, or as it is now.
type Volume struct {
	ID          string // chosen by the cloud when empty
	Name        string // empty: null
	Description string // empty: null
	Project     Project
	Status      string // empty: available, or in-use with Servers
	Size        int    // GiB; 0: 1
	Type        string // empty: the default
	Zone        string // empty: nova
	NoHost      bool   // scheduling failed
	Snapshot    string // it was made from
	Image       string
	Metadata    map[string]string
	Servers     []string // it is attached to
	Created     time.Time
	Updated     time.Time
}

// Snapshot is a snapshot to add, or as it is now.
type Snapshot struct {
	ID          string
	Name        string
	Description string
	Project     Project
	Volume      string // may be missing
	Status      string // empty: available
	Size        int    // GiB; 0: the volume's, or 1
	Metadata    map[string]string
	Created     time.Time
	Updated     time.Time
}

// AddVolume adds a volume without checks and returns its id.
func (c *Cloud) AddVolume(v Volume) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	made := &volume{
		id: orElse(v.ID, c.newID), user: c.users["demo"].id, project: v.Project.ID, name: nullable(v.Name), description: nullable(v.Description),
		status: v.Status, size: max(v.Size, 1), kind: c.typeNamed(v.Type), zone: v.Zone, host: "lab@ceph#ceph", snapshot: v.Snapshot, imageID: v.Image,
		metadata: cloneMap(v.Metadata), created: v.Created, updated: v.Updated,
	}
	c.setDefaults(&made.project, &made.created, &made.updated)
	if made.zone == "" {
		made.zone = c.zones[0]
	}
	if v.NoHost {
		made.host = ""
	}
	for i, server := range v.Servers {
		made.attachments = append(made.attachments, &attachment{id: c.newID(), server: server, device: device(i), attached: made.updated})
	}
	if made.status == "" {
		made.status = made.finalStatus()
	}
	c.volumes[made.id] = made
	return made.id
}

// AddSnapshot adds a snapshot without checks and returns its id.
func (c *Cloud) AddSnapshot(s Snapshot) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	made := &snapshot{
		id: orElse(s.ID, c.newID), user: c.users["demo"].id, project: s.Project.ID, name: nullable(s.Name), description: nullable(s.Description),
		volume: s.Volume, status: s.Status, progress: "100%", size: s.Size, kind: c.types[0], metadata: cloneMap(s.Metadata), created: s.Created, updated: s.Updated,
	}
	c.setDefaults(&made.project, &made.created, &made.updated)
	if v := c.volumes[s.Volume]; v != nil {
		made.kind, made.data = v.kind, slices.Clone(v.data)
		if made.size == 0 {
			made.size = v.size
		}
	}
	made.size = max(made.size, 1)
	if made.status == "" {
		made.status = "available"
	}
	c.snapshots[made.id] = made
	return made.id
}

func (c *Cloud) setDefaults(project *string, created, updated *time.Time) {
	if *project == "" {
		*project = c.Project.ID
	}
	if created.IsZero() {
		*created = c.nowSeconds()
	}
	if updated.IsZero() {
		*updated = *created
	}
}

// AddServer adds an ACTIVE server to a project and returns its id.
func (c *Cloud) AddServer(project Project, name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &server{id: c.newID(), name: name, status: "ACTIVE", project: project.ID, user: c.users["demo"].id, image: c.newID(), created: c.nowSeconds()}
	c.servers[s.id] = s
	return s.id
}

// SetServerStatus sets the status of a server; an empty status deletes it. Its
// attachments stay.
func (c *Cloud) SetServerStatus(id, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if status == "" {
		delete(c.servers, id)
		return
	}
	c.servers[id].status = status
}

// AddImage adds a public raw image and returns its id.
func (c *Cloud) AddImage(name string, content []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := &image{id: c.newID(), name: name, status: "active", owner: c.Admin.ID, content: slices.Clone(content), created: c.nowSeconds()}
	c.images[i.id] = i
	return i.id
}

// Remove removes a volume or snapshot.
func (c *Cloud) Remove(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id = c.idOf(id)
	delete(c.volumes, id)
	delete(c.snapshots, id)
}

// Volumes are the volumes of all projects in the order of creation.
func (c *Cloud) Volumes() []Volume {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Volume
	for _, v := range c.volumes {
		one := Volume{
			ID: v.id, Name: deref(v.name), Description: deref(v.description), Project: Project{ID: v.project}, Status: v.status, Size: v.size, Type: v.kind.name,
			Zone: v.zone, NoHost: v.host == "", Snapshot: v.snapshot, Image: v.imageID, Metadata: cloneMap(v.metadata), Created: v.created, Updated: v.updated,
		}
		for _, a := range v.attachments {
			one.Servers = append(one.Servers, a.server)
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Volume) int { return older(a.Created, b.Created, a.ID, b.ID) })
	return list
}

// Snapshots are the snapshots of all projects in the order of creation.
func (c *Cloud) Snapshots() []Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Snapshot
	for _, s := range c.snapshots {
		list = append(list, Snapshot{
			ID: s.id, Name: deref(s.name), Description: deref(s.description), Project: Project{ID: s.project}, Volume: s.volume, Status: s.status,
			Size: s.size, Metadata: cloneMap(s.metadata), Created: s.created, Updated: s.updated,
		})
	}
	slices.SortFunc(list, func(a, b Snapshot) int { return older(a.Created, b.Created, a.ID, b.ID) })
	return list
}

func older(a, b time.Time, aID, bID string) int {
	if n := a.Compare(b); n != 0 {
		return n
	}
	if aID[len(aID)-12:] < bID[len(bID)-12:] { // newID ends with a counter
		return -1
	}
	return 1
}

// idOf finds an object by its id or by any value of its metadata, such as a Ref.
func (c *Cloud) idOf(key string) string {
	if c.volumes[key] != nil || c.snapshots[key] != nil {
		return key
	}
	for id, v := range c.volumes {
		if slices.Contains(slices.Collect(maps.Values(v.metadata)), key) {
			return id
		}
	}
	for id, s := range c.snapshots {
		if slices.Contains(slices.Collect(maps.Values(s.metadata)), key) {
			return id
		}
	}
	return key
}

// finalStatus is the status of a volume without an operation.
func (v *volume) finalStatus() string {
	if len(v.attachments) > 0 {
		return "in-use"
	}
	return "available"
}

func (v *volume) attachmentTo(server string) *attachment {
	for _, a := range v.attachments {
		if a.server == server {
			return a
		}
	}
	return nil
}

func orElse(value string, make func() string) string {
	if value != "" {
		return value
	}
	return make()
}

func device(n int) string { return "/dev/sd" + string(rune('b'+n)) }
