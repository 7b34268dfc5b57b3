package store_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// ownServers sets the capabilities of a backend without servers.
func ownServers(db *store.Store) {
	db.SetCapabilities(models.Capabilities{Attach: true, MultiAttach: true, OwnServers: true, FreeBytes: -1, MaxSizeGiB: -1})
}

func register(t *testing.T, db *store.Store, name, address string) *models.Server {
	t.Helper()
	row, err := db.Servers.AddServer(t.Context(), storetest.Administrator(), models.ServerInput{Name: name, Address: address})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func TestServers_Add(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, admin := t.Context(), storetest.Administrator()
		_, err := db.Servers.AddServer(ctx, admin, models.ServerInput{Name: "web-1", Address: "10.0.0.5"})
		if !errors.Is(err, &models.Error{Code: models.CodeUnsupported}) {
			t.Fatalf("where the backend knows the servers: %v", err)
		}
		ownServers(db)
		_, err = db.Servers.AddServer(ctx, admin, models.ServerInput{Name: "web 1", Address: "nowhere"})
		if fields := fieldKeys(err); fields["name"] != "server.name_invalid" || fields["address"] != "server.address_invalid" {
			t.Fatalf("bad input: %v", err)
		}
		in := models.ServerInput{Name: "web-1", Address: "10.0.0.5,10.1.0.0/24", FormKey: "key"}
		row, err := db.Servers.AddServer(ctx, admin, in)
		if err != nil || row.Address != "10.0.0.5, 10.1.0.0/24" || len(row.Addresses()) != 2 {
			t.Fatalf("%+v %v", row, err)
		}
		if again, err := db.Servers.AddServer(ctx, admin, in); err != nil || again.ID != row.ID {
			t.Errorf("the same form again: %+v %v", again, err)
		}
		_, err = db.Servers.AddServer(ctx, admin, models.ServerInput{Name: "WEB-1", Address: "10.0.0.6"})
		if fieldKeys(err)["name"] != "server.name_taken" {
			t.Errorf("the name in capitals: %v", err)
		}
		other := admin
		other.Project = "other"
		if _, err := db.Servers.AddServer(ctx, other, models.ServerInput{Name: "web-1", Address: "10.0.0.5"}); err != nil {
			t.Errorf("the name in another project: %v", err)
		}
		if err := db.Sync.SyncServers(ctx, nil); err != nil {
			t.Fatal(err)
		}
		mine, err := db.Servers.ListServers(ctx, storetest.Operator(), 10)
		if err != nil || len(mine) != 1 || mine[0].ID != row.ID || mine[0].Origin != models.ByHand {
			t.Errorf("listed: %+v %v", mine, err)
		}
		all, err := db.Servers.RegisteredServers(ctx)
		if err != nil || len(all) != 2 {
			t.Errorf("of all projects: %+v %v", all, err)
		}
		if _, err := db.Servers.EditServer(ctx, other, models.ServerInput{ID: row.ID, Name: "mine", Address: "10.0.0.9"}); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("another project's server: %v", err)
		}
		page, err := db.SearchAudit(ctx, admin, models.AuditQuery{Limit: 1})
		if err != nil || len(page.Entries) != 1 || page.Entries[0].Action != "server.create" || page.Entries[0].Detail != row.Address {
			t.Errorf("audit: %+v %v", page.Entries, err)
		}
	})
}

func TestServers_EditAndRemove(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, admin := t.Context(), storetest.Administrator()
		ownServers(db)
		row := register(t, db, "web-1", "10.0.0.5")
		second := register(t, db, "db-1", "10.0.0.6")
		v := availableVolume(t, db, "data-1")
		attach(t, db, v, row.ID)
		edited, err := db.Servers.EditServer(ctx, admin, models.ServerInput{ID: row.ID, Name: "web-2", Address: "10.0.0.7", Version: row.Version})
		if err != nil || edited.Version != row.Version+1 || edited.Address != "10.0.0.7" {
			t.Fatalf("%+v %v", edited, err)
		}
		if now, err := db.Volumes.Volume(ctx, admin, v); err != nil || now.Attachments[0].ServerName != "web-2" {
			t.Errorf("the attachment says %+v %v", now.Attachments, err)
		}
		_, err = db.Servers.EditServer(ctx, admin, models.ServerInput{ID: row.ID, Name: "web-3", Address: "10.0.0.7", Version: row.Version})
		if !errors.Is(err, &models.Error{Code: models.CodeStale}) {
			t.Errorf("an old form: %v", err)
		}
		_, err = db.Servers.EditServer(ctx, admin, models.ServerInput{ID: row.ID, Name: "Db-1", Address: "10.0.0.7"})
		if fieldKeys(err)["name"] != "server.name_taken" {
			t.Errorf("a name that is taken: %v", err)
		}
		err = db.Servers.RemoveServer(ctx, admin, row.ID)
		if e := models.AsError(err); e == nil || e.Code != models.CodeConflict || len(e.Denial.Volumes) != 1 || e.Denial.Volumes[0].ID != v {
			t.Errorf("removed while attached: %v", err)
		}
		if use, err := db.Servers.ServerUse(ctx, []string{row.ID, second.ID}); err != nil || use[row.ID] != (models.ServerUse{Volumes: 1}) || use[second.ID] != (models.ServerUse{}) {
			t.Errorf("use: %v %v", use, err)
		}
		w := availableVolume(t, db, "data-2")
		if _, err := db.Volumes.AttachVolume(ctx, storetest.Operator(), w, second.ID, ""); err != nil {
			t.Fatal(err)
		}
		err = db.Servers.RemoveServer(ctx, admin, second.ID)
		if e := models.AsError(err); e == nil || e.Text.Key != "deny.server_awaited" || e.Denial.Volumes[0].ID != w {
			t.Errorf("removed while a volume is on its way: %v", err)
		}
		third := register(t, db, "third", "10.0.0.8")
		if err := db.Servers.RemoveServer(ctx, admin, third.ID); err != nil {
			t.Fatal(err)
		}
		if err := db.Servers.RemoveServer(ctx, admin, third.ID); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		_, err = db.Volumes.AttachVolume(ctx, storetest.Operator(), availableVolume(t, db, "data-3"), third.ID, "")
		if fieldKeys(err)["server_id"] != "server.not_found" {
			t.Errorf("attached to a server that is gone: %v", err)
		}
		page, err := db.SearchAudit(ctx, admin, models.AuditQuery{Limit: 50})
		var actions []string
		refused := 0
		for _, e := range page.Entries {
			switch {
			case e.SubjectType != models.AuditSubjectServer:
			case e.Outcome == models.AuditDenied && e.Action == "server.delete":
				refused++
			default:
				actions = append(actions, e.Action)
			}
		}
		slices.Reverse(actions)
		if err != nil || strings.Join(actions, " ") != "server.create server.create server.edit server.create server.delete" || refused != 2 {
			t.Errorf("audit: %v, %d refused, %v", actions, refused, err)
		}
	})
}

// queryServers runs the queries of servers and connections.
func queryServers(t *testing.T, db *store.Store) {
	t.Helper()
	ctx, admin := t.Context(), storetest.Administrator()
	ownServers(db)
	row := register(t, db, "web-1", "10.0.0.5")
	v := availableVolume(t, db, "asked")
	attach(t, db, v, row.ID)
	_, err1 := db.Servers.EditServer(ctx, admin, models.ServerInput{ID: row.ID, Name: "web-2", Address: "10.0.0.6"})
	_, err2 := db.Servers.RegisteredServers(ctx)
	_, err3 := db.Servers.ServerUse(ctx, []string{row.ID})
	_, err4 := db.Servers.ServerDenial(ctx, row)
	_, err5 := db.Servers.ServerDenial(ctx, &models.Server{ID: "free", ProjectID: models.DefaultProject})
	c := connection(db, "c1", v, row.ID)
	must(t, err1, err2, err3, err4, err5, db.Sync.SyncConnections(ctx, []backend.Connection{c}))
	_, err1 = db.Volumes.Volume(ctx, admin, v)
	must(t, err1, db.Sync.SyncConnections(ctx, nil), db.Servers.RemoveServer(ctx, admin, row.ID))
}
