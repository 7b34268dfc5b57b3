package openstack

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

func TestTranslate(t *testing.T) {
	policy := `{"forbidden": {"code": 403, "message": "Policy doesn't allow %s to be performed."}}`
	for _, tt := range []struct {
		name       string
		status     int
		retryAfter string
		body       string
		want       func(error) bool
	}{
		{"gone", 404, "", `{"itemNotFound": {"code": 404, "message": "Volume x could not be found."}}`, func(err error) bool { return errors.Is(err, backend.ErrNotFound) }},
		{"a proxy's 404", 404, "", openstacktest.ProxyHTML, isUnavailable(0)},
		{"an unknown path", 404, "", `{"message": "The resource could not be found.<br />", "code": "404 Not Found", "title": "Not Found"}`, isUnavailable(0)},
		{"state", 400, "", `{"badRequest": {"code": 400, "message": "Invalid volume: volume is not assigned to a host"}}`, isConflict("not assigned")},
		{"nova", 409, "", `{"conflictingRequest": {"code": 409, "message": "Instance is locked"}}`, isConflict("locked")},
		{"name", 400, "", `{"badRequest": {"code": 400, "message": "Invalid input for field/attribute name. Value: ` + strings.Repeat("x", 9999) + `"}}`, isInvalid("name")},
		{"size", 400, "", `{"badRequest": {"code": 400, "message": "Invalid input for field/attribute size. Value: 0. 0 is less than the minimum of 1"}}`, isInvalid("size_gib")},
		{"zone", 400, "", `{"badRequest": {"code": 400, "message": "Availability zone 'mars' is invalid."}}`, isInvalid("zone")},
		{"a foreign project", 400, "", `{"badRequest": {"code": 400, "message": "Malformed request url"}}`, isUnavailable(0)},
		{"a proxy's 400", 400, "", openstacktest.ProxyHTML, isUnavailable(0)},
		{"repair", 403, "", strings.Replace(policy, "%s", "volume_extension:snapshot_admin_actions:reset_status", 1), isForbidden("admin")},
		{"write", 403, "", strings.Replace(policy, "%s", "volume:create_snapshot", 1), isForbidden("member")},
		{"root device", 403, "", `{"forbidden": {"code": 403, "message": "Can't detach root device volume"}}`, isConflict("root device")},
		{"too many", 429, "7", openstacktest.ProxyHTML, isUnavailable(7 * time.Second)},
		{"down", 503, "", openstacktest.ProxyHTML, isUnavailable(0)},
		{"maintenance", 503, "60", "", isUnavailable(time.Minute)},
		{"until a date", 503, "Sun, 22 Nov 2026 10:00:30 GMT", "", isUnavailable(30 * time.Second)},
		{"until the past", 503, "-5", "", isUnavailable(0)},
		{"broken", 500, "", `{"computeFault": {"code": 500, "message": "The server has either erred"}}`, isUnavailable(0)},
		{"proxy", 502, "", "", isUnavailable(0)},
		{"too slow", 504, "soon", "not JSON {", isUnavailable(0)},
		{"cannot", 501, "", `{"notImplemented": {"code": 501, "message": "no"}}`, func(err error) bool { return errors.Is(err, backend.ErrUnsupported) }},
		{"an odd one", 418, "", "[]", isUnavailable(0)},
	} {
		b := open(t, Options{Getenv: env(map[string]string{"OS_AUTH_URL": "http://k/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "p"})})
		err := b.translate(t.Context(), gophercloud.ErrUnexpectedResponseCode{
			Actual: tt.status, Body: []byte(tt.body), ResponseHeader: http.Header{"Retry-After": {tt.retryAfter}, "Date": {"Sun, 22 Nov 2026 10:00:00 GMT"}},
		})
		if !tt.want(err) {
			t.Errorf("%s: %T %v", tt.name, err, err)
		}
		if len(err.Error()) > 1000 {
			t.Errorf("%s: a text of %d bytes", tt.name, len(err.Error()))
		}
	}
}

func isUnavailable(after time.Duration) func(error) bool {
	return func(err error) bool {
		var u *backend.Error
		return errors.As(err, &u) && u.Code == backend.CodeUnavailable && (u.Cause == "" || u.Cause == backend.TooMany) && u.RetryAfter == after
	}
}

func isConflict(why string) func(error) bool {
	return func(err error) bool {
		var c *backend.Error
		return errors.As(err, &c) && c.Code == backend.CodeConflict && strings.Contains(c.Message, why)
	}
}

func isInvalid(field string) func(error) bool {
	return func(err error) bool {
		var i *backend.Error
		return errors.As(err, &i) && i.Code == backend.CodeInvalid && i.Field == field
	}
}

func isForbidden(role string) func(error) bool {
	return func(err error) bool {
		var f *backend.Error
		return errors.As(err, &f) && f.Code == backend.CodeForbidden && f.Role == role
	}
}

func requireUnavailable(t *testing.T, err error) *backend.Error {
	t.Helper()
	var u *backend.Error
	if !errors.As(err, &u) || u.Code != backend.CodeUnavailable {
		t.Fatalf("%v is not CodeUnavailable", err)
	}
	return u
}

func errorOf[T any](_ T, err error) error { return err }

// A request whose connection was refused is Unsent.
func TestTranslate_DialFailed(t *testing.T) {
	_, b := newCloud(t, openstacktest.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = http.Get("http://" + l.Addr().String())
	if u := requireUnavailable(t, b.translate(t.Context(), err)); !u.Unsent {
		t.Errorf("%+v", u)
	}
}

// A wrong Retry-After must not stop the console for years.
func TestRetryAfter_Limit(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, "999999999999": maxRetryAfter, "9223372036854775807": maxRetryAfter, "-5": 0, "1e300": maxRetryAfter, "soon": 0,
		"Fri, 31 Dec 9999 23:59:59 GMT": maxRetryAfter, "Sun, 22 Nov 2026 12:00:09 GMT": 9 * time.Second, "Thu, 01 Jan 1970 00:00:00 GMT": 0,
	} {
		h := http.Header{"Retry-After": {value}, "Date": {"Sun, 22 Nov 2026 12:00:00 GMT"}}
		if got := retryAfter(h); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

// changes are calls that change existing objects.
func changes(ctx context.Context, b *Backend, v, sn backend.Key, server, ref string) map[string]func() error {
	return map[string]func() error{
		"create volume":   func() error { _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: ref, SizeGiB: 1}); return err },
		"create snapshot": func() error { _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: ref, Volume: v}); return err },
		"rename":          func() error { return b.RenameVolume(ctx, v, "name", "") },
		"extend":          func() error { return b.ExtendVolume(ctx, v, 2) },
		"attach":          func() error { return b.AttachVolume(ctx, v, server) },
		"delete snapshot": func() error { return b.DeleteSnapshot(ctx, sn) },
		"revert":          func() error { return b.RevertVolume(ctx, v, sn) },
	}
}

// When the answer to a change is lost, a retry has no second effect.
func TestRetry_OneEffect(t *testing.T) {
	faults := map[string]openstacktest.Fault{
		"dropped before": {Drop: true}, "dropped after": {Drop: true, After: true}, "half": {Truncate: true, Drop: true, After: true},
		"503 before": {Status: 503, Body: openstacktest.ProxyHTML}, "500 after": {Status: 500, After: true}, "429": {Status: 429, Header: map[string]string{"Retry-After": "3"}},
	}
	names := slices.Sorted(func(yield func(string) bool) {
		for name := range changes(t.Context(), nil, backend.Key{}, backend.Key{}, "", "") {
			if !yield(name) {
				return
			}
		}
	})
	for fault, f := range faults {
		for _, name := range names {
			t.Run(name+", "+fault, func(t *testing.T) { testRetry(t, name, f) })
		}
	}
}

func testRetry(t *testing.T, name string, f openstacktest.Fault) {
	cloud, b := newCloud(t, openstacktest.Options{})
	v := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})}
	sn := backend.Key{ID: cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project, Volume: v.ID})}
	call := changes(t.Context(), b, v, sn, cloud.AddServer(cloud.Project, "web"), newRef(t))[name]
	if _, err := b.Capabilities(t.Context()); err != nil {
		t.Fatal(err)
	}
	met := 0
	var broken []*openstacktest.ActiveFault
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		broken = append(broken, cloud.Inject(openstacktest.Rule{Method: method, Times: 1}, f))
	}
	before := len(cloud.Volumes()) + len(cloud.Snapshots())
	err := call()
	for _, one := range broken {
		met += one.Count()
	}
	cloud.ClearFaults()
	if met != 1 || err != nil && !isUnavailable(0)(err) && !isUnavailable(3*time.Second)(err) {
		t.Fatalf("%d requests met the fault, %v", met, err)
	}
	for range 3 { // the next request may get the closed connection
		if err = call(); err == nil {
			break
		}
		requireUnavailable(t, err)
	}
	if err != nil {
		t.Fatalf("once more: %v", err)
	}
	cloud.Settle()
	made := 0
	if strings.HasPrefix(name, "create") {
		made = 1
	}
	if name == "delete snapshot" {
		made = -1
	}
	if n := len(cloud.Volumes()) + len(cloud.Snapshots()); n != before+made {
		t.Errorf("%d objects, there were %d", n, before)
	}
	now, err := b.Volume(t.Context(), v)
	if err != nil || name == "attach" && len(now.Attachments) != 1 || name == "extend" && now.SizeGiB != 2 || name == "rename" && now.Name != "name" {
		t.Errorf("%+v, %v", now, err)
	}
}
