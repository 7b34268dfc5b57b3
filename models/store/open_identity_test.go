package store_test

import (
	"errors"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestIdentity_OtherBackend(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx := t.Context()
		cloud := models.Identity{Backend: "openstack", Cloud: "keystone.example.com:5000", Region: "east"}
		must(t, db.CheckIdentity(ctx, cloud), db.CheckIdentity(ctx, cloud), db.CheckProject(ctx, models.Project{ID: tenant, Name: "lab"}))
		elsewhere := cloud
		elsewhere.Cloud, elsewhere.Region = "moved.example.com", ""
		must(t, db.CheckIdentity(ctx, elsewhere)) // the same cloud at another address: its project identifies it
		west := cloud
		west.Region = "west"
		again := storetest.Second(t, db, clock.Now)
		for want, err := range map[string]error{
			"BLOCKCONSOLE_BACKEND": again.CheckIdentity(ctx, models.Identity{Backend: "local"}),
			"OS_REGION_NAME":       again.CheckIdentity(ctx, west),
			"OS_PROJECT_ID":        again.CheckProject(ctx, models.Project{ID: another, Name: "other"}),
		} {
			var refused *models.IdentityError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "BLOCKCONSOLE_DATABASE") ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", want, err)
			}
		}
		if again.OwnProjectID() != tenant {
			t.Errorf("the refused project became home: %s", again.OwnProjectID())
		}
		must(t, again.CheckProject(ctx, models.Project{}), again.CheckProject(ctx, models.Project{ID: tenant, Name: "renamed"}))
		if again.OwnProjectName() != "renamed" {
			t.Errorf("the project is called %s", again.OwnProjectName())
		}
	})
}

func TestIdentity_OlderDatabase(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx := t.Context()
		_, err := db.Volumes.CreateVolume(ctx, storetest.Operator(), models.VolumeInput{Name: "from-before", Size: "1"})
		must(t, err)
		var refused *models.IdentityError
		if err := db.CheckIdentity(ctx, models.Identity{Backend: "openstack"}); !errors.As(err, &refused) {
			t.Errorf("a database with local volumes became a cloud's: %v", err)
		}
		must(t, storetest.Second(t, db, clock.Now).CheckIdentity(ctx, models.Identity{Backend: "local"}))
	})
}
