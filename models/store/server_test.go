package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// checkOwnServers makes the store that of a backend whose servers are registered here.
func ownServers(db *store.Store) {
	db.SetCapabilities(models.Capabilities{Attach: true, MultiAttach: true, OwnServers: true, FreeBytes: -1})
}

func register(t *testing.T, db *store.Store, name, address string) *models.Server {
	t.Helper()
	row, err := db.Servers.AddServer(t.Context(), storetest.Administrator(), models.ServerInput{Name: name, Address: address})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// wrongFields are the fields that an error is about, with what it says.
func wrongFields(err error) map[string]string {
	fields := map[string]string{}
	if e := models.AsError(err); e != nil {
		for name, text := range e.Fields {
			fields[name] = text.Key
		}
	}
	return fields
}

func TestServerNamesAndAddresses(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "web-1": true, "db_1.example.com": true, strings.Repeat("x", 64): true, "": false, strings.Repeat("x", 65): false,
		"web 1": false, "서버": false, "web\x00": false, "web/1": false, "ｗｅｂ": false, "web\n": false, " web": false, "<b>": false,
	} {
		if got := models.ValidateServerName(name) == nil; got != ok {
			t.Errorf("name %q: %v", name, got)
		}
	}
	for typed, want := range map[string]string{
		"10.0.0.5": "10.0.0.5", " 10.0.0.5 ,10.1.0.0/24": "10.0.0.5, 10.1.0.0/24", "2001:DB8:0::5": "2001:db8::5", "::ffff:10.0.0.5": "10.0.0.5",
		"10.0.0.5/32": "10.0.0.5", "10.0.0.5,10.0.0.5": "10.0.0.5", "::ffff:10.0.0.0/120": "10.0.0.0/24", "0.0.0.0/0": "0.0.0.0/0", "10.0.0.5,,": "10.0.0.5", "fe80::1": "fe80::1",
	} {
		if got, wrong := models.ParseAddresses(typed); wrong != nil || got != want {
			t.Errorf("%q became %q, %v", typed, got, wrong)
		}
	}
	for typed, want := range map[string]string{
		"": "server.address_required", " , ": "server.address_required", "web-1": "server.address_invalid", "10.0.0": "server.address_invalid",
		"10.0.0.5/33": "server.address_invalid", "10.0.0.5/8": "server.address_host_bits", "0.0.0.0": "server.address_nobody", "::": "server.address_nobody",
		"224.0.0.1": "server.address_nobody", "255.255.255.255": "server.address_nobody", "fe80::1%eth0": "server.address_invalid", "010.0.0.1": "server.address_invalid",
		"10.0.0.5;10.0.0.6": "server.address_invalid", strings.Repeat("9", 100_000): "server.address_invalid", "\xff\x00": "server.address_invalid",
		strings.Repeat("10.0.0.0/8,", 10) + "x": "server.address_invalid",
	} {
		if got, wrong := models.ParseAddresses(typed); wrong == nil || wrong.Key != want || len(strings.Join(wrong.Args, "")) > 300 {
			t.Errorf("%.40q became %q, %v", typed, got, wrong)
		}
	}
	many := ""
	for i := range models.AddressesMax + 1 {
		many += fmt.Sprintf("10.0.0.%d,", i+1)
	}
	if _, wrong := models.ParseAddresses(many); wrong == nil || wrong.Key != "server.address_many" {
		t.Errorf("%v", wrong)
	}
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"10.0.0.5", "10.0.0.0/8, 2001:db8::/32", "::ffff:1.2.3.4", "a,b", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		normal, wrong := models.ParseAddresses(typed)
		if wrong != nil {
			return
		}
		if again, wrong := models.ParseAddresses(normal); wrong != nil || again != normal {
			t.Errorf("%q became %q and then %q, %v", typed, normal, again, wrong)
		}
		s := models.Server{ID: "a", Address: normal}
		if len(models.Overlaps([]models.Server{s, {ID: "b", Address: normal}})) != 2 {
			t.Errorf("%q does not overlap itself", normal)
		}
	})
}

func TestOverlaps(t *testing.T) {
	servers := []models.Server{{ID: "net", Name: "net", Address: "10.0.0.0/24"}, {ID: "in", Name: "in", Address: "192.0.2.1, 10.0.0.7"},
		{ID: "out", Name: "out", Address: "10.0.1.7"}, {ID: "six", Name: "six", Address: "2001:db8::/32"}, {ID: "none"}}
	shared := models.Overlaps(servers)
	if len(shared) != 2 || shared["net"][0].ID != "in" || shared["in"][0].Name != "net" {
		t.Errorf("%v", shared)
	}
}

func TestServersAreRegistered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, admin := t.Context(), storetest.Administrator()
		_, err := db.Servers.AddServer(ctx, admin, models.ServerInput{Name: "web-1", Address: "10.0.0.5"})
		if !errors.Is(err, &models.Error{Code: models.CodeUnsupported}) {
			t.Fatalf("where the backend knows the servers: %v", err)
		}
		ownServers(db)
		_, err = db.Servers.AddServer(ctx, admin, models.ServerInput{Name: "web 1", Address: "nowhere"})
		if fields := wrongFields(err); fields["name"] != "server.name_invalid" || fields["address"] != "server.address_invalid" {
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
		if wrongFields(err)["name"] != "server.name_taken" {
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
		page, err := db.ListAudit(ctx, admin, 0, 0, 1)
		if err != nil || len(page.Entries) != 1 || page.Entries[0].Action != "server.create" || page.Entries[0].Detail != row.Address {
			t.Errorf("audit: %+v %v", page.Entries, err)
		}
	})
}

func TestServersAreChangedAndRemoved(t *testing.T) {
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
		if wrongFields(err)["name"] != "server.name_taken" {
			t.Errorf("a name that is taken: %v", err)
		}
		err = db.Servers.RemoveServer(ctx, admin, row.ID)
		if e := models.AsError(err); e == nil || e.Code != models.CodeConflict || len(e.Denial.Volumes) != 1 || e.Denial.Volumes[0].ID != v {
			t.Errorf("removed while attached: %v", err)
		}
		if use, err := db.Servers.ServerUse(ctx, []string{row.ID, second.ID}); err != nil || use[row.ID] != 1 || use[second.ID] != 0 {
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
		if wrongFields(err)["server_id"] != "server.not_found" {
			t.Errorf("attached to a server that is gone: %v", err)
		}
		page, err := db.ListAudit(ctx, admin, 0, 0, 50)
		var actions []string
		for _, e := range page.Entries {
			if e.SubjectType == models.AuditSubjectServer {
				actions = append(actions, e.Action)
			}
		}
		slices.Reverse(actions)
		if err != nil || strings.Join(actions, " ") != "server.create server.create server.edit server.create server.delete" {
			t.Errorf("audit: %v %v", actions, err)
		}
	})
}

// availableVolume makes a volume that can be used, and returns its id.
func availableVolume(t *testing.T, db *store.Store, name string) string {
	t.Helper()
	ids, err := db.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{{ID: models.NewID(), BackendID: "b-" + name, Project: models.DefaultProject, Name: name, SizeGiB: 1,
		CreatedAt: db.Now(), ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}}, db.Now())
	if err != nil || len(ids) != 1 {
		t.Fatalf("%v %v", ids, err)
	}
	return ids[0]
}

// askServers asks the store everything about servers and connections.
func askServers(t *testing.T, db *store.Store) {
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
	none(t, err1, err2, err3, err4, err5, db.Sync.SyncConnections(ctx, []backend.Connection{c}))
	_, err1 = db.Volumes.Volume(ctx, admin, v)
	none(t, err1, db.Sync.SyncConnections(ctx, nil), db.Servers.RemoveServer(ctx, admin, row.ID))
}

func connection(db *store.Store, id, volume, server string) backend.Connection {
	now := models.Micros(db.Now())
	return backend.Connection{ID: id, Volume: backend.Key{Ref: volume}, ServerID: server, Address: "10.0.0.5:43210", Since: now, ActiveAt: now}
}

func TestConnectionsAreMirrored(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		ownServers(db)
		row := register(t, db, "web-1", "10.0.0.5")
		v := availableVolume(t, db, "data-1")
		attach(t, db, v, row.ID)
		none(t, exportVolume(db, v))
		use := func() models.ConnectionUse {
			t.Helper()
			now, err := db.Volumes.Volume(ctx, me, v)
			none(t, err)
			return now.Use(row.ID)
		}
		if use() != models.NeverUsed {
			t.Errorf("attached: %q", use())
		}
		c := connection(db, "c1", "", row.ID)
		c.Volume.ID = "b-data-1" // as a backend that knows no other name of it
		if kinds := changedBy(t, db, func() error {
			return db.Sync.SyncConnections(ctx, []backend.Connection{c, connection(db, "c2", "unknown", row.ID)})
		}); !slices.Contains(kinds, models.SubjectVolume) || use() != models.Connected {
			t.Errorf("connected: %v, %q", kinds, use())
		}
		if kinds := changedBy(t, db, func() error { return db.Sync.SyncConnections(ctx, []backend.Connection{c}) }); len(kinds) > 0 {
			t.Errorf("nothing new wrote %v", kinds)
		}
		c.BytesRead, c.BytesWritten, c.ActiveAt = 1<<40, 7, models.Micros(clock.Now())
		if kinds := changedBy(t, db, func() error { return db.Sync.SyncConnections(ctx, []backend.Connection{c}) }); !slices.Equal(kinds, []models.SubjectType{models.SubjectConnection}) {
			t.Errorf("figures wrote %v", kinds)
		}
		now, err := db.Volumes.Volume(ctx, me, v)
		if err != nil || len(now.Connections) != 1 || now.Connections[0].BytesRead != 1<<40 || now.Clients()[0] != c.Address {
			t.Errorf("%+v %v", now.Connections, err)
		}
		clock.Add(time.Minute)
		if kinds := changedBy(t, db, func() error { return db.Sync.SyncConnections(ctx, nil) }); !slices.Contains(kinds, models.SubjectVolume) || use() != models.UsedBefore {
			t.Errorf("gone: %v, %q", kinds, use())
		}
		// A new attachment to the same server has not been used.
		none(t, observe(db, v, store.ObservedState{Status: models.Available, Percent: -1, Attachments: &[]backend.Attachment{}}))
		attach(t, db, v, row.ID)
		if use() != models.NeverUsed {
			t.Errorf("attached again: %q", use())
		}
	})
}

// changedBy is the kinds of the changes that fn writes.
func changedBy(t *testing.T, db *store.Store, fn func() error) []models.SubjectType {
	t.Helper()
	last, err := db.LastChange(t.Context())
	none(t, err, fn())
	changes, err := db.ChangesAfter(t.Context(), last, 100)
	none(t, err)
	var kinds []models.SubjectType
	for _, c := range changes {
		kinds = append(kinds, c.Kind)
	}
	return kinds
}

// apply makes the row of a volume what a listing says.
func observe(db *store.Store, id string, o store.ObservedState) error {
	row, err := db.Volumes.VolumeByID(context.Background(), id)
	if err != nil {
		return err
	}
	_, err = db.Sync.UpsertVolumes(context.Background(), []store.ObservedObject{{ID: row.ID, BackendID: row.BackendID, Name: row.Name, SizeGiB: row.SizeGiB, ObservedState: o}}, db.Now())
	return err
}

func exportVolume(db *store.Store, id string) error {
	return observe(db, id, store.ObservedState{Export: &models.Export{Protocol: "nbd", Address: "127.0.0.1:10809", Name: id}})
}
