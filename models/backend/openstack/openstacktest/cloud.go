// Package openstacktest is a small OpenStack in memory for tests: Keystone, Cinder,
// Nova and Glance behind one [net/http/httptest] server.
//
// Statuses, headers, error bodies and state rules are those of the Zed release (Cinder
// 21.3.1, Nova 26.2.2), bugs included; TestCloudParity compares them with a real cloud.
// An accepted operation finishes when its object is polled twice (by id, or by a listing
// filtered by metadata); after Hold the test finishes operations itself. Inject injects
// faults, Requests lists the requests.
package openstacktest

import (
	"fmt"
	"net/http/httptest"
	"sync"
	"time"
)

// Options configure a cloud. The zero value is usable.
type Options struct {
	// Now is the cloud's clock; nil: the system's.
	Now func() time.Time
	// TokenTTL is how long a token is valid; zero: an hour.
	TokenTTL time.Duration
	// Cinder is the highest minor microversion 3.x of Cinder, Nova that of 2.x of Nova; zero: 70 and 93.
	Cinder, Nova int
	// BusySnapshots accepts the deletion of a snapshot with dependent volumes and gives it up later, as RBD does.
	BusySnapshots bool
	// EnforceReaders forbids changes to the role reader, which Zed's default policies do not.
	EnforceReaders bool
	// BMPOnly answers 500 to characters beyond the Basic Multilingual Plane, as with MySQL's utf8mb3.
	BMPOnly bool
	// MaxPageSize is the number of objects in the longest page of Cinder and Nova; zero: 1000.
	MaxPageSize int
}

// Project is a project of the cloud.
type Project struct{ ID, Name string }

// Password is the initial password of every user.
const Password = "correct horse battery"

// Region is the name of the cloud's region.
const Region = "RegionOne"

// Cloud is one OpenStack. It is safe for concurrent use.
type Cloud struct {
	// Project is demo, where the user demo is a member and viewer a reader. Tiny has small quotas (2 volumes, 2
	// snapshots, 5 GiB). Admin is the administrator's. The user admin has the role admin in all of them.
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
	faults []*ActiveFault
}

// New starts a cloud with the projects demo, tiny and admin, the users demo,
// viewer and admin, the volume types ceph (default), scripted,
// __DEFAULT__ and shared (multi-attach), the zone nova and nothing else.
func New(opts Options) *Cloud {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.TokenTTL == 0 {
		opts.TokenTTL = time.Hour
	}
	if opts.Cinder == 0 {
		opts.Cinder = 70
	}
	if opts.Nova == 0 {
		opts.Nova = 93
	}
	if opts.MaxPageSize == 0 {
		opts.MaxPageSize = 1000
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

// Close stops the cloud and releases hanging requests.
func (c *Cloud) Close() {
	c.ClearFaults()
	c.server.Close()
}

// URL is the address of Keystone, as in OS_AUTH_URL.
func (c *Cloud) URL() string { return c.server.URL + "/identity/v3" }

// Env is the environment (OS_*) of an OpenStack client for user in project.
func (c *Cloud) Env(user string, project Project) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[string]string{
		"OS_AUTH_URL": c.URL(), "OS_USERNAME": user, "OS_PASSWORD": c.users[user].password, "OS_USER_DOMAIN_NAME": "Default",
		"OS_PROJECT_NAME": project.Name, "OS_PROJECT_DOMAIN_NAME": "Default", "OS_REGION_NAME": Region,
	}
}

// SetSkew sets how far the cloud's clock is ahead of Options.Now.
func (c *Cloud) SetSkew(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = d
}

// now is the cloud's time in UTC; the caller holds the lock.
func (c *Cloud) now() time.Time { return c.opts.Now().Add(c.skew).UTC() }

// nowSeconds is now in whole seconds, as in the database.
func (c *Cloud) nowSeconds() time.Time { return c.now().Truncate(time.Second) }

// newID makes a UUID that is the same in every run, but does not sort in the order of
// creation.
func (c *Cloud) newID() string {
	c.lastID++
	h := splitmix(c.lastID)
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", uint32(h>>32), uint16(h>>16), h&0xfff, splitmix(h)&0xfff, c.lastID)
}

// splitmix is the finalizer of splitmix64.
func splitmix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hexID makes an id without dashes, as Keystone's are.
func (c *Cloud) hexID() string {
	c.lastID++
	return fmt.Sprintf("%016x%016x", splitmix(c.lastID), splitmix(splitmix(c.lastID)))
}

// requestID makes a request id.
func (c *Cloud) requestID() string { return "req-" + c.newID() }
