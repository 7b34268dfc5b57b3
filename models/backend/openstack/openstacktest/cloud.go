// Package openstacktest is a small OpenStack in memory: Keystone, Cinder, Nova
// and Glance behind one [net/http/httptest] server, for tests of whatever talks to
// a cloud.
//
// Statuses, headers, error bodies and the rules of state are those of the Zed
// release (Cinder 21.3.1, Nova 26.2.2), bugs included: what a test learns here
// holds against a real cloud. Out of the box an operation that was accepted is
// over at the second look at its object (its own page, or a listing that asks for
// its metadata); Hold puts the test in charge of that.
// Break injects faults, Requests tells what was asked.
package openstacktest

import (
	"fmt"
	"net/http/httptest"
	"sync"
	"time"
)

// Options shape a cloud; the zero value is one like many others.
type Options struct {
	// Now is the cloud's clock; nil means the system's.
	Now func() time.Time
	// TokenLife is how long a token is good for; zero means an hour.
	TokenLife time.Duration
	// Cinder is the minor part of the highest 3.x microversion of Cinder, Nova that
	// of 2.x of Nova; zero means 70 and 93.
	Cinder, Nova int
	// BusySnapshots lets a deletion of a snapshot that volumes were made from be
	// accepted and then refused, as RBD does.
	BusySnapshots bool
	// ReadersRead keeps the role reader from changing anything; Zed's own defaults
	// do not.
	ReadersRead bool
	// NarrowText answers 500 to characters beyond the Basic Multilingual Plane, as
	// a database with MySQL's utf8 does.
	NarrowText bool
	// PageMax is the longest page of Cinder and Nova; zero means 1000.
	PageMax int
}

// Project is a project of the cloud.
type Project struct{ ID, Name string }

// Password is what every user of the cloud has at first.
const Password = "correct horse battery"

// Region is the name of the cloud's region.
const Region = "RegionOne"

// Cloud is one OpenStack. It is safe for concurrent use.
type Cloud struct {
	// Project is demo, where the user demo is a member and viewer a reader; Tiny has
	// small quotas (2 volumes, 2 snapshots, 5 GiB); Admin is the administrator's. The
	// user admin has the role admin in all of them.
	Project, Tiny, Admin Project

	opts   Options
	server *httptest.Server

	mu          sync.Mutex
	skew        time.Duration
	users       map[string]*user // by name
	projects    []*project
	credentials map[string]*credential // by id
	tokens      map[string]*token
	types       []*volumeType
	zones       []string
	volumes     map[string]*volume
	snapshots   map[string]*snapshot
	servers     map[string]*server
	images      map[string]*image
	messages    []*message
	hold        bool
	failNext    map[Op]int
	begun       int // tasks
	lastID      uint64

	log    requestLog
	breaks []*Break
}

// New starts a cloud with the projects demo, tiny and admin, the users demo,
// viewer and admin, the volume types ceph (default), scripted,
// __DEFAULT__ and shared (multi-attach), the zone nova and nothing else.
func New(opts Options) *Cloud {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.TokenLife == 0 {
		opts.TokenLife = time.Hour
	}
	if opts.Cinder == 0 {
		opts.Cinder = 70
	}
	if opts.Nova == 0 {
		opts.Nova = 93
	}
	if opts.PageMax == 0 {
		opts.PageMax = 1000
	}
	c := &Cloud{
		opts: opts, users: map[string]*user{}, credentials: map[string]*credential{}, tokens: map[string]*token{},
		volumes: map[string]*volume{}, snapshots: map[string]*snapshot{}, servers: map[string]*server{}, images: map[string]*image{},
		failNext: map[Op]int{}, zones: []string{"nova"},
	}
	for _, name := range []string{"ceph", "scripted", "__DEFAULT__", "shared"} {
		c.types = append(c.types, &volumeType{id: c.newID(), name: name, multiattach: name == "shared"})
	}
	c.Project, c.Tiny, c.Admin = c.addProject("demo"), c.addProject("tiny"), c.addProject("admin")
	for what, limit := range map[string]int{"volumes": 2, "snapshots": 2, "gigabytes": 5} {
		c.SetQuota(c.Tiny, what, limit)
	}
	member := []string{"reader", "member"}
	c.addUser("demo", map[string][]string{c.Project.ID: member, c.Tiny.ID: member})
	c.addUser("viewer", map[string][]string{c.Project.ID: {"reader"}})
	everything := append([]string{"admin"}, member...)
	c.addUser("admin", map[string][]string{c.Project.ID: everything, c.Tiny.ID: everything, c.Admin.ID: everything})
	c.server = httptest.NewServer(c)
	return c
}

// Close ends the cloud; what hangs is let go.
func (c *Cloud) Close() {
	c.Mend()
	c.server.Close()
}

// URL is the address of Keystone, as in OS_AUTH_URL.
func (c *Cloud) URL() string { return c.server.URL + "/identity/v3" }

// Env is the environment (OS_*) with which an OpenStack client is user in project.
func (c *Cloud) Env(user string, project Project) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[string]string{
		"OS_AUTH_URL": c.URL(), "OS_USERNAME": user, "OS_PASSWORD": c.users[user].password, "OS_USER_DOMAIN_NAME": "Default",
		"OS_PROJECT_NAME": project.Name, "OS_PROJECT_DOMAIN_NAME": "Default", "OS_REGION_NAME": Region,
	}
}

// SetSkew lets the cloud's clock, its Date headers and the times of its objects
// be off by d from Options.Now.
func (c *Cloud) SetSkew(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = d
}

// now is the cloud's time; the caller holds the lock.
func (c *Cloud) now() time.Time { return c.opts.Now().Add(c.skew).UTC() }

// stamp is now as the database keeps it: whole seconds.
func (c *Cloud) stamp() time.Time { return c.now().Truncate(time.Second) }

// newID makes a UUID that looks random, so that ids of one second sort in no
// order of creation, but is the same in every run.
func (c *Cloud) newID() string {
	c.lastID++
	h := mix(c.lastID)
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(h>>32), uint16(h>>16), h&0xfff, mix(h)&0xfff, c.lastID)
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hexID makes an id without dashes, as Keystone's are.
func (c *Cloud) hexID() string {
	c.lastID++
	return fmt.Sprintf("%016x%016x", mix(c.lastID), mix(mix(c.lastID)))
}

// requestID makes the id of a request.
func (c *Cloud) requestID() string { return "req-" + c.newID() }
