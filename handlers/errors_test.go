package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
)

var errDatabase = errors.New("the database does not answer")

// brokenVolumes finds no volume: the database does not answer.
type brokenVolumes struct{ SnapshotStore }

func (brokenVolumes) Rules() models.Rules               { return models.Rules{} }
func (brokenVolumes) Capabilities() models.Capabilities { return models.Capabilities{} }
func (brokenVolumes) Snapshot(context.Context, models.Actor, string) (*models.Snapshot, error) {
	return &models.Snapshot{ID: "snapshot", VolumeID: "volume"}, nil
}
func (brokenVolumes) Volume(context.Context, models.Actor, string) (*models.Volume, error) {
	return nil, errDatabase
}
func (brokenVolumes) ListVolumes(context.Context, models.Actor, models.ListQuery) (models.Page[models.Volume], error) {
	return models.Page[models.Volume]{}, nil
}
func (brokenVolumes) CreateSnapshot(context.Context, models.Actor, models.SnapshotInput) (*models.Operation, error) {
	return nil, models.Invalid("name", models.NewText("name.invalid"))
}
func (brokenVolumes) RevertVolume(context.Context, models.Actor, string, string) (*models.Operation, error) {
	return nil, models.Refused(models.NewDenial("deny.volume_gone"))
}

// brokenSources finds no snapshot to make a volume of.
type brokenSources struct{ VolumeStore }

func (brokenSources) Rules() models.Rules               { return models.Rules{} }
func (brokenSources) Capabilities() models.Capabilities { return models.Capabilities{} }
func (brokenSources) Snapshot(context.Context, models.Actor, string) (*models.Snapshot, error) {
	return nil, errDatabase
}
func (brokenSources) CreateVolume(context.Context, models.Actor, models.VolumeInput) (*models.Operation, error) {
	return nil, models.Invalid("name", models.NewText("name.invalid"))
}

// brokenSnapshots finds no snapshot at all.
type brokenSnapshots struct{ brokenVolumes }

func (brokenSnapshots) Snapshot(context.Context, models.Actor, string) (*models.Snapshot, error) {
	return nil, errDatabase
}
func (brokenSnapshots) EditSnapshot(context.Context, models.Actor, models.EditInput) (*models.Operation, error) {
	return nil, &models.Error{Code: models.CodeStale, Text: models.NewText("error.409.guide")}
}
func (brokenSnapshots) DeleteSnapshot(context.Context, models.Actor, string, string) (*models.Operation, error) {
	return nil, models.Refused(models.NewDenial("deny.volume_gone"))
}

// TestDatabaseErrors: no popup says that something is gone, or leaves something out,
// because the database did not answer.
func TestDatabaseErrors(t *testing.T) {
	lost, found := NewSnapshots(brokenSnapshots{}, NewRowCache()), NewSnapshots(brokenVolumes{}, NewRowCache())
	volumes := NewVolumes(brokenSources{}, NewRowCache())
	for name, tc := range map[string]struct {
		method, values string
		handler        echo.HandlerFunc
	}{
		"revert form":            {http.MethodGet, "", found.RevertForm},
		"revert":                 {http.MethodPost, "", found.Revert},
		"create snapshot":        {http.MethodPost, "volume_id=volume", found.Create},
		"restore":                {http.MethodPost, "snapshot_id=snapshot", volumes.Create},
		"edit":                   {http.MethodPost, "name=x", lost.Edit},
		"delete form":            {http.MethodGet, "id=a", lost.DeleteForm},
		"delete form of several": {http.MethodGet, "id=a&id=b", lost.DeleteForm},
		"delete several":         {http.MethodPost, "id=a&id=b", lost.DeleteMany},
	} {
		t.Run(name, func(t *testing.T) {
			c, w := newContext(tc.method, "/?"+tc.values)
			if err := tc.handler(c); !errors.Is(err, errDatabase) {
				t.Errorf("error is %v; the answer is %d %s", err, w.Code, strings.Join(strings.Fields(w.Body.String()), " "))
			}
		})
	}
}
