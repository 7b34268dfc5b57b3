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

// attachment is what Nova has asked of Cinder; it shows in the volume once the
// server has it.
type attachment struct {
	id, server, device string
	attached           time.Time // zero: not yet
	leaving            bool
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

// Volume is a volume as a test makes it, or as it stands.
type Volume struct {
	ID          string // chosen by the cloud when empty
	Name        string // empty: null
	Description string // empty: null
	Project     Project
	Status      string // empty: available, or in-use with Servers
	Size        int    // 0: 1
	Type        string // empty: the default
	Zone        string // empty: nova
	NoHost      bool   // scheduling failed: it was never anywhere
	Snapshot    string // that it was made from
	Image       string
	Metadata    map[string]string
	Servers     []string // that have it
	Created     time.Time
	Updated     time.Time
}

// Snapshot is a snapshot as a test makes it, or as it stands.
type Snapshot struct {
	ID          string
	Name        string
	Description string
	Project     Project
	Volume      string // may be of none that exists
	Status      string // empty: available
	Size        int    // 0: the volume's, or 1
	Metadata    map[string]string
	Created     time.Time
	Updated     time.Time
}

// AddVolume puts a volume into the cloud, whatever it looks like, and returns its
// id.
func (c *Cloud) AddVolume(v Volume) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	made := &volume{
		id: orElse(v.ID, c.newIDOnce), user: c.users["demo"].id, project: v.Project.ID, name: nullable(v.Name), description: nullable(v.Description),
		status: v.Status, size: max(v.Size, 1), kind: c.typeNamed(v.Type), zone: v.Zone, host: "lab@ceph#ceph", snapshot: v.Snapshot, imageID: v.Image,
		metadata: cloned(v.Metadata), created: v.Created, updated: v.Updated,
	}
	c.defaults(&made.project, &made.created, &made.updated)
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
		made.status = made.resting()
	}
	c.volumes[made.id] = made
	return made.id
}

// AddSnapshot puts a snapshot into the cloud and returns its id.
func (c *Cloud) AddSnapshot(s Snapshot) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	made := &snapshot{
		id: orElse(s.ID, c.newIDOnce), user: c.users["demo"].id, project: s.Project.ID, name: nullable(s.Name), description: nullable(s.Description),
		volume: s.Volume, status: s.Status, progress: "100%", size: s.Size, kind: c.types[0], metadata: cloned(s.Metadata), created: s.Created, updated: s.Updated,
	}
	c.defaults(&made.project, &made.created, &made.updated)
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

func (c *Cloud) defaults(project *string, created, updated *time.Time) {
	if *project == "" {
		*project = c.Project.ID
	}
	if created.IsZero() {
		*created = c.stamp()
	}
	if updated.IsZero() {
		*updated = *created
	}
}

// AddServer puts an ACTIVE server into a project and returns its id.
func (c *Cloud) AddServer(project Project, name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &server{id: c.newID(), name: name, status: "ACTIVE", project: project.ID, user: c.users["demo"].id, image: c.newID(), created: c.stamp()}
	c.servers[s.id] = s
	return s.id
}

// SetServerStatus changes what Nova says of a server; an empty status deletes it.
// Its volumes are left alone.
func (c *Cloud) SetServerStatus(id, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if status == "" {
		delete(c.servers, id)
		return
	}
	c.servers[id].status = status
}

// AddImage puts a public raw image into Glance and returns its id.
func (c *Cloud) AddImage(name string, content []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := &image{id: c.newID(), name: name, status: "active", owner: c.Admin.ID, content: slices.Clone(content), created: c.stamp()}
	c.images[i.id] = i
	return i.id
}

// AddZone adds an availability zone to the first one, nova.
func (c *Cloud) AddZone(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.zones = append(c.zones, name)
}

// SetStatus changes the status of a volume or snapshot behind everybody's back;
// what was under way with it ends without a trace.
func (c *Cloud) SetStatus(id, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.volumes[c.idOf(id)]; v != nil {
		v.status, v.updated, v.task = status, c.stamp(), nil
	}
	if s := c.snapshots[c.idOf(id)]; s != nil {
		s.status, s.updated, s.task = status, c.stamp(), nil
	}
}

// Remove makes a volume or snapshot vanish, as if deleted elsewhere.
func (c *Cloud) Remove(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id = c.idOf(id)
	delete(c.volumes, id)
	delete(c.snapshots, id)
}

// Volumes are the volumes of all projects in the order of their creation.
func (c *Cloud) Volumes() []Volume {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Volume
	for _, v := range c.volumes {
		one := Volume{
			ID: v.id, Name: plain(v.name), Description: plain(v.description), Project: Project{ID: v.project}, Status: v.status, Size: v.size, Type: v.kind.name,
			Zone: v.zone, NoHost: v.host == "", Snapshot: v.snapshot, Image: v.imageID, Metadata: cloned(v.metadata), Created: v.created, Updated: v.updated,
		}
		for _, a := range v.attachments {
			one.Servers = append(one.Servers, a.server)
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Volume) int { return older(a.Created, b.Created, a.ID, b.ID) })
	return list
}

// Snapshots are the snapshots of all projects in the order of their creation.
func (c *Cloud) Snapshots() []Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Snapshot
	for _, s := range c.snapshots {
		list = append(list, Snapshot{
			ID: s.id, Name: plain(s.name), Description: plain(s.description), Project: Project{ID: s.project}, Volume: s.volume, Status: s.status,
			Size: s.size, Metadata: cloned(s.metadata), Created: s.created, Updated: s.updated,
		})
	}
	slices.SortFunc(list, func(a, b Snapshot) int { return older(a.Created, b.Created, a.ID, b.ID) })
	return list
}

func older(a, b time.Time, aID, bID string) int {
	if n := a.Compare(b); n != 0 {
		return n
	}
	if aID[len(aID)-12:] < bID[len(bID)-12:] { // newID counts there
		return -1
	}
	return 1
}

// idOf finds an object by its id or by any value of its metadata, such as the ref
// that a client put there.
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

func (c *Cloud) typeNamed(nameOrID string) *volumeType {
	for _, t := range c.types {
		if t.name == nameOrID || t.id == nameOrID {
			return t
		}
	}
	return c.types[0]
}

// resting is the status of a volume that nothing happens to.
func (v *volume) resting() string {
	if len(v.attachments) > 0 {
		return "in-use"
	}
	return "available"
}

func (v *volume) on(server string) *attachment {
	for _, a := range v.attachments {
		if a.server == server {
			return a
		}
	}
	return nil
}

func (c *Cloud) newIDOnce() string { return c.newID() }

func orElse(value string, make func() string) string {
	if value != "" {
		return value
	}
	return make()
}

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func plain(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func cloned(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return maps.Clone(m)
}

func device(n int) string { return "/dev/sd" + string(rune('b'+n)) }
