package openstacktest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend/openstack/openstacktest"
)

// exchange is a recorded request to a real cloud and its response.
type exchange struct {
	name    string
	Note    string
	As      struct{ User, Project string }
	Request struct {
		Method, URL string
		Headers     map[string]string
		Body        any
	}
	Response struct {
		Status  int
		Headers map[string]string
		Body    any
	}
}

// exchangesDir is the folder of the recorded exchanges, which are not in this
// repository.
func exchangesDir(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("BLOCKCONSOLE_TEST_EXCHANGES"); dir != "" {
		return dir
	}
	dir := filepath.Join("..", "..", "..", "..", "..", "shared", "openstack-lab", "exchanges")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no recorded exchanges: BLOCKCONSOLE_TEST_EXCHANGES names no folder")
	}
	return dir
}

func readExchanges(t *testing.T) []exchange {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(exchangesDir(t), "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []exchange
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		e := exchange{name: strings.TrimSuffix(filepath.Base(name), ".json")}
		if err := json.Unmarshal(content, &e); err != nil {
			t.Fatal(name, err)
		}
		list = append(list, e)
	}
	if len(list) < 150 {
		t.Fatalf("only %d exchanges in %s", len(list), exchangesDir(t))
	}
	return list
}

// replay sends recorded requests to this package.
type replay struct {
	*testing.T
	cloud   *openstacktest.Cloud
	clients map[string]*client
	ids     map[string]string // by recorded id
}

// Objects that were made outside of the recording.
const (
	tinyVolume  = "667870c9-68e5-46e6-8974-f944613408c5"
	listVolume  = "9b48e572-f8f0-476a-87ee-129bc08a82a8"
	busyVolume  = "4ecb633b-a455-48e4-bcd3-af2dc15fab66"
	errorVolume = "368b39dd-9c77-4b77-a557-968e13259f5b"
	oldVolume   = "4076b745-6479-4589-9730-157e2f737721"
	firstVolume = "66fdd6c2-d396-4436-aa68-f9ae8aaa8f09"
	newest      = "32523d98-f130-4777-a0cc-8a377eedfb3a"
	missingID   = "11111111-1111-1111-1111-111111111111"
)

var listed = []string{
	"663cf9d0-4bc5-4dec-a8a3-58465de9841d", "01c105ed-fd40-496e-83c1-28430773a0ba", "823a3a69-eb1b-45dd-8e40-83f416c14f94",
	"4cded894-0048-4fec-b4d6-283448360819", "9aba3389-27a2-4681-938b-fb40099ebb9f",
}

func TestExchanges_Replay(t *testing.T) {
	exchanges := readExchanges(t)
	cloud := newCloud(t, openstacktest.Options{BusySnapshots: true, BMPOnly: true})
	for _, what := range []string{"volumes", "snapshots"} {
		cloud.SetQuota(cloud.Project, what, -1)
	}
	r := &replay{T: t, cloud: cloud, clients: map[string]*client{}, ids: map[string]string{}}
	cloud.AddVolume(openstacktest.Volume{ID: "300bd68e-95fe-482a-afb4-21236c7c39b2", Name: "x-bye", Size: 2})
	cloud.AddVolume(openstacktest.Volume{ID: listVolume, Name: "x-list", Type: "scripted"})
	cloud.AddVolume(openstacktest.Volume{ID: busyVolume, Name: "x-busy", Type: "scripted"})
	cloud.AddVolume(openstacktest.Volume{ID: errorVolume, Name: "x-fail-create", Type: "scripted", Status: "error", NoHost: true})
	cloud.AddVolume(openstacktest.Volume{ID: oldVolume, Name: "x-cascade", Type: "scripted"})
	cloud.AddSnapshot(openstacktest.Snapshot{Volume: oldVolume})
	for i, id := range listed {
		cloud.AddSnapshot(openstacktest.Snapshot{ID: id, Name: fmt.Sprint("x-page-", i), Volume: listVolume, Metadata: map[string]string{"n": fmt.Sprint(i % 2)}})
	}
	count := 0
	for _, e := range exchanges {
		if e.name >= "900" {
			continue // recorded with stopped daemons or other policies
		}
		count++
		t.Run(e.name, func(t *testing.T) {
			r.T = t
			r.prepare(e)
			r.compare(e, r.send(e))
		})
	}
	if count < 150 {
		t.Errorf("only %d exchanges were compared", count)
	}
}

// prepare does what was done between the recorded requests.
func (r *replay) prepare(e exchange) {
	number, _, _ := strings.Cut(e.name, "-")
	switch number {
	case "019", "064", "196":
		return // operations stay under way
	}
	r.cloud.Settle()
	switch number {
	case "042":
		c := *r.clients["demo@demo"]
		c.t = r.T
		c.volume("PUT", "/snapshots/"+r.ids["af3caefc-f32d-42f9-a09c-7ab749144570"], map[string]any{"snapshot": map[string]any{"name": "x-snap-1"}}).object(r.T, 200)
	case "062":
		r.cloud.AddSnapshot(openstacktest.Snapshot{ID: newest, Volume: r.ids[firstVolume], Created: time.Now().Add(time.Second)})
	case "137":
		r.cloud.AddSnapshot(openstacktest.Snapshot{ID: "c9addd56-d729-4238-81df-6cfde93b6221", Name: "x-fail-delete", Volume: busyVolume})
		r.cloud.FailNext(openstacktest.DeleteSnapshot)
	case "134":
		r.cloud.FailNext(openstacktest.CreateSnapshot)
	case "141":
		r.cloud.Hold()
	case "146":
		r.cloud.Auto()
	case "189":
		r.cloud.AddVolume(openstacktest.Volume{ID: tinyVolume, Project: r.cloud.Tiny})
		r.cloud.AddVolume(openstacktest.Volume{ID: missingID[:35] + "2", Project: r.cloud.Tiny})
	case "190":
		r.cloud.AddSnapshot(openstacktest.Snapshot{Project: r.cloud.Tiny, Volume: tinyVolume})
		r.cloud.AddSnapshot(openstacktest.Snapshot{Project: r.cloud.Tiny, Volume: tinyVolume})
	case "192":
		r.cloud.Remove(missingID[:35] + "2")
	}
	// A snapshot that was made outside of the recording exists from its first use.
	if _, id, found := strings.Cut(e.Request.URL, "/snapshots/"); found && e.Response.Status != 404 {
		id, _, _ = strings.Cut(id, "/")
		made := slices.ContainsFunc(r.cloud.Snapshots(), func(s openstacktest.Snapshot) bool { return s.ID == id })
		if uuid.MatchString(id) && r.ids[id] == "" && !made {
			r.cloud.AddSnapshot(openstacktest.Snapshot{ID: id, Name: e.name, Volume: r.ids[firstVolume]})
		}
	}
}

var projectID = regexp.MustCompile(`^[0-9a-f]{32}$`)

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// localIDs replaces recorded ids and addresses by those of this cloud.
func (r *replay) localIDs(s string) string {
	for recorded, ours := range r.ids {
		s = strings.ReplaceAll(s, recorded, ours)
	}
	root := strings.TrimSuffix(r.cloud.URL(), "/identity/v3")
	for port, service := range map[string]string{"5000": "identity", "8776": "volume", "8774": "compute"} {
		s = strings.ReplaceAll(s, "http://127.0.0.1:"+port, root+"/"+service)
	}
	return s
}

func (r *replay) send(e exchange) reply {
	r.Helper()
	project := map[string]openstacktest.Project{"demo": r.cloud.Project, "tiny": r.cloud.Tiny}[e.As.Project]
	for _, part := range strings.Split(e.Request.URL, "/") {
		if projectID.MatchString(part) && r.ids[part] == "" {
			r.ids[part] = project.ID
			if e.name == "007-foreign-project-in-url" {
				r.ids[part] = r.cloud.Admin.ID
			}
		}
	}
	who := e.As.User + "@" + e.As.Project
	if r.clients[who] == nil {
		r.clients[who] = login(r.T, r.cloud, e.As.User, project)
	}
	c := *r.clients[who]
	c.t, c.version = r.T, e.Request.Headers["OpenStack-API-Version"]
	if e.Request.Headers["X-Auth-Token"] == "" || strings.Contains(e.name, "bad-token") {
		c.token = "bogus"
	}
	var body any
	switch b := e.Request.Body.(type) {
	case nil:
	case string:
		body = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			r.Fatal(err)
		}
		body = strings.ReplaceAll(r.localIDs(string(text)), `"password":"lab"`, `"password":"`+openstacktest.Password+`"`)
	}
	return c.do(e.Request.Method, r.localIDs(escapeQuery(e.Request.URL)), body)
}

// escapeQuery encodes a recorded query.
func escapeQuery(s string) string {
	path, query, found := strings.Cut(s, "?")
	if !found {
		return s
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return s
	}
	return path + "?" + values.Encode()
}

func (r *replay) compare(e exchange, got reply) {
	r.Helper()
	if got.status != e.Response.Status {
		r.Fatalf("%s %s\n got %d %s\nwant %d %v", e.Request.Method, e.Request.URL, got.status, got.text, e.Response.Status, e.Response.Body)
	}
	for name, want := range e.Response.Headers {
		switch name {
		case "Content-Length", "location":
		case "x-openstack-request-id":
			if !strings.HasPrefix(got.header.Get(name), "req-") {
				r.Errorf("%s: %q", name, got.header.Get(name))
			}
		case "WWW-Authenticate":
			if got.header.Get(name) == "" {
				r.Errorf("no %s", name)
			}
		case "Content-Type":
			if have, _, _ := strings.Cut(got.header.Get(name), ";"); !strings.HasPrefix(want, have) {
				r.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
			}
		default:
			if have := got.header.Get(name); have != want {
				r.Errorf("%s: %q, want %q", name, have, want)
			}
		}
	}
	want, isObject := e.Response.Body.(map[string]any)
	if !isObject {
		if got.text != "" {
			r.Errorf("body %q, want none", got.text)
		}
		return
	}
	r.recordIDs(want, got.body)
	r.compareValue("", want, got.body)
}

// recordIDs maps the recorded id of a new object.
func (r *replay) recordIDs(want, got map[string]any) {
	for name, value := range want {
		recorded, is := value.(map[string]any)
		ours, isToo := got[name].(map[string]any)
		if !is || !isToo {
			continue
		}
		if id, _ := recorded["id"].(string); uuid.MatchString(id) && r.ids[id] == "" && name != "message" {
			r.ids[id], _ = ours["id"].(string)
		}
	}
}

// ignoredFields depend on the recorded machine.
var ignoredFields = []string{"metadata", "extensions", "pools", "catalog", "services", "manageable-snapshots"}

// comparedFields must have equal values, others only values of the same type.
var comparedFields = []string{"status", "size", "name", "code", "title", "message", "event_id", "user_message", "progress", "retryAfter", "description", "min_version", "version", "volume_type"}

// compareValue checks the keys of every object, the type of every value, and the values
// of comparedFields.
func (r *replay) compareValue(path string, want, got any) {
	r.Helper()
	if want == nil || got == nil {
		return
	}
	switch w := want.(type) {
	case map[string]any:
		g, is := got.(map[string]any)
		if !is {
			r.Errorf("%s is %v, want an object", path, got)
			return
		}
		keys := slices.DeleteFunc(slices.Sorted(maps.Keys(g)), func(k string) bool { return strings.HasSuffix(k, "_shared") })
		if wantKeys := slices.Sorted(maps.Keys(w)); !slices.Equal(keys, wantKeys) {
			r.Errorf("%s has\n     %v, want\n     %v", path, keys, wantKeys)
		}
		for name, value := range w {
			if !slices.Contains(ignoredFields, name) {
				r.compareValue(path+"."+name, value, g[name])
			}
		}
	case []any:
		g, is := got.([]any)
		if !is || (len(w) == 0) != (len(g) == 0) {
			r.Errorf("%s is %v, want %v", path, got, want)
		} else if len(w) > 0 {
			r.compareValue(path+"[]", w[0], g[0])
		}
	default:
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			r.Errorf("%s is %v, want %v", path, got, want)
		}
		last := path[strings.LastIndex(path, ".")+1:]
		if text := normalize(r.localIDs(fmt.Sprint(want))); slices.Contains(comparedFields, last) && !strings.Contains(path, "[]") && normalize(fmt.Sprint(got)) != text {
			r.Errorf("%s is\n     %v, want\n     %v", path, got, text)
		}
	}
}

var (
	requestIDs = regexp.MustCompile(`req-[0-9a-f-]{36}`)
	pattern    = regexp.MustCompile(`(?s)Value: .* does not match '\^\[.*`)
)

// normalize removes what differs in every response.
func normalize(s string) string {
	return pattern.ReplaceAllString(requestIDs.ReplaceAllString(s, "req-"), "does not match")
}
