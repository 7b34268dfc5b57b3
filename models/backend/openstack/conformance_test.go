package openstack

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/uuid"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/backend/openstack/openstacktest"
)

// env is a Getenv that reads from a map.
func env(of map[string]string) func(string) string {
	return func(name string) string { return of[name] }
}

// open makes a Backend that has not signed in.
func open(t *testing.T, o Options) *Backend {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	b, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// newCloud makes a cloud and a Backend of its project demo.
func newCloud(t *testing.T, o openstacktest.Options) (*openstacktest.Cloud, *Backend) {
	t.Helper()
	cloud := openstacktest.New(o)
	t.Cleanup(cloud.Close)
	return cloud, open(t, Options{Now: o.Now, Getenv: env(cloud.Env("demo", cloud.Project))})
}

// storedText is how Cinder stores a text: without spaces at its ends; the description of
// a snapshot is a single line of printable characters of the Basic Multilingual Plane.
func storedText(subject backend.SubjectType, field, text string) (string, bool) {
	if subject == backend.SubjectSnapshot && field == "description" {
		text = singleLine(text)
		if beyondBMP(text) || strings.ContainsAny(text, "\u200d\u202e") {
			return "", false
		}
	}
	return strings.TrimSpace(text), true
}

func TestConformance(t *testing.T) {
	for name, o := range map[string]openstacktest.Options{
		"zed": {}, "busy snapshots": {BusySnapshots: true}, "3.59": {Cinder: 59, Nova: 1},
	} {
		t.Run(name, func(t *testing.T) {
			backendtest.Run(t, func(t *testing.T) backendtest.Fixture { return fixture(t, o) })
		})
	}
}

func fixture(t *testing.T, o openstacktest.Options) backendtest.Fixture {
	cloud := openstacktest.New(o)
	t.Cleanup(cloud.Close)
	getenv := env(cloud.Env("admin", cloud.Project))
	cloud.AddServer(cloud.Project, "web-1")
	cloud.AddServer(cloud.Project, "web-2")
	content := []byte("the beginning of an image")
	opened := func() backend.Backend { return open(t, Options{Getenv: getenv}) }
	return backendtest.Fixture{
		Backend: opened(), Reopen: opened, Project: cloud.Project.ID, Type: "ceph", StoredText: storedText,
		Settle: func(ctx context.Context) error {
			cloud.Settle()
			return ctx.Err()
		},
		Image:       cloud.AddImage("debian", content),
		ImageBytes:  content,
		WriteVolume: func(key backend.Key, offset int64, p []byte) error { return cloud.Write(key.ID, offset, p) },
		ReadVolume:  func(key backend.Key, offset int64, n int) ([]byte, error) { return cloud.Read(key.ID, offset, n) },
	}
}

func newRef(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}
