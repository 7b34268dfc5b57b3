package handlers_test

import (
	"context"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// TestLive_Revoked: what ends a session ends its open streams within a second, at another console on the database
// than the one where it was done, too.
func TestLive_Revoked(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	c.Server.Live.PingInterval = time.Hour
	c.Server.Live.FreshInterval = time.Hour
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { c.Server.Live.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })

	elsewhere := storetest.Second(t, c.Store, c.Now)
	admin := models.Actor{Name: "admin", Role: models.Administrator, Project: models.DefaultProject}
	bystander := c.open(c.As(models.Operator), c.eventsOf(c.Client, views.VolumesPath))
	for name, revoke := range map[string]func(db *store.Store, u *models.User, mine *apptest.Client) error{
		"disabled": func(db *store.Store, u *models.User, _ *apptest.Client) error {
			return db.Users.SetDisabled(t.Context(), admin, u.ID, true)
		},
		"deleted": func(db *store.Store, u *models.User, _ *apptest.Client) error {
			return db.Users.DeleteUser(t.Context(), admin, u.ID)
		},
		"password reset": func(db *store.Store, u *models.User, _ *apptest.Client) error {
			_, err := db.Users.ResetPassword(t.Context(), admin, u.ID)
			return err
		},
		"password at the terminal": func(db *store.Store, u *models.User, _ *apptest.Client) error {
			return db.Users.SetPasswordByName(t.Context(), u.Name, "battery staple tree")
		},
		"session ended": func(db *store.Store, u *models.User, _ *apptest.Client) error {
			return db.Sessions.EndOtherSessions(t.Context(), models.Actor{UserID: u.ID, Name: u.Name, Project: u.ProjectID}, "")
		},
		"signed out": func(db *store.Store, u *models.User, mine *apptest.Client) error {
			in, err := db.Sessions.Session(t.Context(), mine.Session())
			if err != nil {
				return err
			}
			return db.Sessions.SignOut(t.Context(), in.Actor("", ""), in.ID)
		},
	} {
		for where, db := range map[string]*store.Store{"here": c.Store, "elsewhere": elsewhere} {
			t.Run(name+" "+where, func(t *testing.T) {
				u, err := c.Store.Users.AddUser(t.Context(), admin, name+" "+where, models.Operator, storetest.Password)
				if err != nil {
					t.Fatal(err)
				}
				mine := c.AsUser(u.Name)
				s := c.open(mine, c.eventsOf(mine, views.VolumesPath))
				if err := revoke(db, u, mine); err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				s.ends()
				if took := time.Since(start); took > time.Second {
					t.Errorf("the stream went on for %v", took)
				}
			})
		}
	}
	c.NewVolume("vol-1", 1)
	bystander.until("list")
}
