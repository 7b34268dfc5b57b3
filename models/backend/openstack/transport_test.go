package openstack

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

// A redirect must not send the token to another host, nor turn a write into a read.
func TestRedirect(t *testing.T) {
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Method+" "+r.Header.Get("X-Auth-Token"))
	}))
	t.Cleanup(other.Close)
	away := strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/"
	cloud, b := newCloud(t, openstacktest.Options{})
	id := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
	cloud.Inject(openstacktest.Rule{Path: "/volumes/" + id}, openstacktest.Fault{Status: 302, Header: map[string]string{"Location": away}})
	_, err := b.Volume(t.Context(), backend.Key{ID: id})
	requireUnavailable(t, err)
	requireUnavailable(t, b.DeleteVolume(t.Context(), backend.Key{ID: id}))
	near := cloud.Count("volume", "GET", "/volumes/")
	cloud.ClearFaults()
	cloud.Inject(openstacktest.Rule{Method: "POST", Path: "/volumes$"}, openstacktest.Fault{Status: 301, Header: map[string]string{"Location": cloud.URL()}})
	_, err = b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), Name: "redirected", SizeGiB: 1})
	requireUnavailable(t, err)
	if len(elsewhere) > 0 || near != 1 {
		t.Errorf("the token went to %v, %d reads", elsewhere, near)
	}
}

func TestCertificate_Causes(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	own := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	demanding := httptest.NewUnstartedServer(http.NotFoundHandler())
	demanding.Config.ErrorLog = log.New(io.Discard, "", 0)
	demanding.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	demanding.StartTLS()
	t.Cleanup(demanding.Close)
	for _, tt := range []struct {
		name, url, ca string
		now           time.Time
		want          backend.Cause
	}{
		{"accepted", server.URL, own, time.Now(), ""},
		{"of an unknown authority", server.URL, "", time.Now(), backend.Certificate},
		{"of another host", strings.Replace(server.URL, "127.0.0.1", "localhost", 1), own, time.Now(), backend.Certificate},
		{"not yet valid", server.URL, own, server.Certificate().NotBefore.Add(-time.Hour), backend.Clock},
		{"expired", server.URL, own, server.Certificate().NotAfter.Add(time.Hour), backend.Clock},
		{"client certificate missing", demanding.URL, own, time.Now(), backend.Certificate},
	} {
		b := open(t, Options{Now: func() time.Time { return tt.now }, Getenv: env(map[string]string{
			"OS_AUTH_URL": tt.url + "/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "p", "OS_CACERT": tt.ca,
		})})
		if err := errorOf(b.Volumes(t.Context(), "", 10)); requireUnavailable(t, err).Cause != tt.want {
			t.Errorf("%s: %q, want %q: %v", tt.name, requireUnavailable(t, err).Cause, tt.want, err)
		}
	}
}
