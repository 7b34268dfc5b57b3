package store_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// wholeTables are statements that need all rows of a small table, or the ends of a primary key.
var wholeTables = []string{
	"SELECT * FROM `servers`", `SELECT * FROM "servers"`, // compared by the mirror
	"DELETE FROM leases", // at the start
	"SELECT * FROM `images`", `SELECT * FROM "images"`,
	"SELECT * FROM `connections`", `SELECT * FROM "connections"`,
	"SELECT count(*) FROM `users`", `SELECT count(*) FROM "users"`, // at the start
	"SELECT `id` FROM `users` WHERE role", `SELECT "id" FROM "users" WHERE role`, // the active administrators
	"SELECT `name` FROM `users`", `SELECT "name" FROM "users"`, // a new user's name is compared with each
	"SELECT * FROM `operations` ORDER BY num DESC LIMIT", `SELECT * FROM "operations" ORDER BY num DESC LIMIT`, // in the order of the primary key
	"DELETE FROM operations WHERE num IN", "DELETE FROM audit WHERE num IN", // the oldest rows
	"SELECT count(*) FROM (SELECT 1 FROM volumes t WHERE TRUE LIMIT", "SELECT count(*) FROM (SELECT 1 FROM snapshots t WHERE TRUE LIMIT", // the first 1,001 rows
	"SELECT min(seq) FROM changes", "SELECT max(seq) FROM changes", // the ends of the primary key
}

// TestQueryPlans runs every query of the store, and expects plans without full table scans.
func TestQueryPlans(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		storetest.SeedSnapshots(t, db, 1200)
		explainAll(t, db, clock)
	})
}

// TestQueryPlans_AllProjects is TestQueryPlans for a console that shows every project.
func TestQueryPlans_AllProjects(t *testing.T) {
	storetest.Each(t, func(t *testing.T, one *store.Store, clock *storetest.Clock) {
		db := storetest.AllProjects(t, one, clock.Now)
		storetest.SeedSnapshots(t, db, 1200)
		must(t, db.DB().Exec("UPDATE snapshots SET project_id = 'another' WHERE num % 2 = 0").Error)
		explainAll(t, db, clock)
	})
}

func explainAll(t *testing.T, db *store.Store, clock *storetest.Clock) {
	t.Helper()
	{
		db.SetCapabilities(models.Capabilities{Attach: true, Revert: true, Repair: true, BusySnapshots: true, FreeBytes: -1, MaxSizeGiB: -1})
		end := db.Capture()
		queryLists(t, db)
		queryOperations(t, db, clock)
		queryAccounts(t, db, clock)
		queryServers(t, db)
		asked, statements := map[string]bool{}, 0
		for _, s := range end() {
			if verb, _, _ := strings.Cut(s.SQL, " "); asked[s.SQL] || !strings.Contains("SELECT UPDATE DELETE", verb) || strings.Contains(s.SQL, "pg_advisory") {
				continue
			}
			asked[s.SQL] = true
			statements++
			for _, bad := range scans(t, db, s) {
				t.Errorf("%s\n\t%s", bad, s.SQL)
			}
		}
		if statements < 100 {
			t.Errorf("only %d different statements", statements)
		}
	}
}

var (
	// Allowed are scans of subqueries, of search indexes and of partial indexes, and those that read a page of a list
	// of all projects in its order.
	sqliteScan   = regexp.MustCompile(`^SCAN (t|v|o|p|s|u|volumes|snapshots|operations|changes|counters|mirror|users|sessions|audit|attachments|servers|images|login_failures)\b`)
	partialIndex = regexp.MustCompile(`USING (COVERING )?INDEX (operations_(due|running|by_lane)|(volumes|snapshots)_all_by_)`)
	wholeList    = regexp.MustCompile(`t WHERE (t\.project_id = \?|TRUE|t\.status = \?|instr\()`)
	filteredList = regexp.MustCompile(`t\.num IN|t\.volume_id = \?|server_id = \?`)
)

func scans(t *testing.T, db *store.Store, s store.Statement) []string {
	t.Helper()
	for _, whole := range wholeTables {
		if strings.HasPrefix(s.SQL, whole) {
			return nil
		}
	}
	var bad []string
	if !db.IsPostgres() {
		var plan []struct{ Detail string }
		if err := db.DB().Raw("EXPLAIN QUERY PLAN "+s.SQL, s.Vars...).Scan(&plan).Error; err != nil {
			t.Fatalf("%s: %v", s.SQL, err)
		}
		walk := strings.Contains(s.SQL, "ORDER BY") && (strings.Contains(s.SQL, "WHERE t.project_id = ?") ||
			wholeList.MatchString(s.SQL) && !filteredList.MatchString(s.SQL)) // reads the list in its order instead of sorting some rows
		for _, step := range plan {
			if walk && strings.Contains(step.Detail, "TEMP B-TREE") {
				bad = append(bad, step.Detail)
			}
			beyond := strings.Contains(s.SQL, ") > (?, ?)") || strings.Contains(s.SQL, ") < (?, ?)") || strings.Contains(s.SQL, "t.id > ?") || strings.Contains(s.SQL, "t.id < ?")
			if walk && beyond && strings.HasPrefix(step.Detail, "SEARCH t ") && !strings.ContainsAny(step.Detail, "<>") {
				bad = append(bad, "all before the cursor is read: "+step.Detail)
			}
			if sqliteScan.MatchString(step.Detail) && !partialIndex.MatchString(step.Detail) {
				bad = append(bad, step.Detail)
			}
		}
		return bad
	}
	err := db.DB().Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("SET LOCAL enable_seqscan = off").Error; err != nil {
			return err
		}
		var lines []string
		sql := s.SQL
		for i := range s.Vars { // gorm has written $1
			sql = strings.Replace(sql, fmt.Sprintf("$%d", i+1), "?", 1)
		}
		if strings.HasPrefix(sql, "EXPLAIN") {
			return nil
		}
		if err := tx.Raw("EXPLAIN "+sql, s.Vars...).Scan(&lines).Error; err != nil {
			return err
		}
		for _, line := range lines {
			if strings.Contains(line, "Seq Scan") {
				bad = append(bad, strings.Join(lines, "\n\t"))
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", s.SQL, err)
	}
	return bad
}

// queryLists queries every combination of sort, filter, search and cursor.
func queryLists(t *testing.T, db *store.Store) {
	t.Helper()
	ctx, me := t.Context(), storetest.Operator()
	page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{})
	if err != nil || len(page.Rows) == 0 {
		t.Fatal(err)
	}
	volume := page.Rows[0].VolumeID
	attach(t, db, volume, "server-1")
	read := page.Rows[9]
	if _, err := db.Sync.UpsertSnapshots(ctx, []store.ObservedObject{{ID: read.ID, BackendID: read.BackendID, Name: read.Name, SizeGiB: read.SizeGiB,
		ObservedState: store.ObservedState{Status: read.Status, Percent: -1, Attachments: &[]backend.Attachment{{ServerID: "server-1", ServerName: "web-1"}}}}}, db.Now()); err != nil {
		t.Fatal(err)
	}
	searches := []string{"", "s", "sn", "snap", "0000777", "zzz", page.Rows[0].ID}
	for _, sort := range sampled(snapshotSorts) {
		for _, status := range []models.Status{"", models.Available} {
			for _, filter := range []string{"", volume} {
				for _, search := range searches {
					q := models.ListQuery{Sort: sort, Status: status, VolumeID: filter, Search: search, Size: 20}
					if filter != "" {
						q.ServerID = "server-1"
					}
					at := store.EncodeCursor(sort, map[string]string{"name": "snap-0000500", "status": "AVAILABLE"}[strings.TrimPrefix(sort, "-")], page.Rows[10].ID)
					if strings.HasSuffix(sort, "_at") || strings.HasSuffix(sort, "size") {
						at = store.EncodeCursor(sort, "5", page.Rows[10].ID)
					}
					for _, cursor := range [][2]string{{"", ""}, {at, ""}, {"", at}} {
						q.After, q.Before = cursor[0], cursor[1]
						_, err1 := db.Snapshots.ListSnapshots(ctx, me, q)
						_, err2 := db.Volumes.ListVolumes(ctx, me, q)
						must(t, err1, err2)
					}
					if locked := q; search == "" || search == "snap" {
						locked.After, locked.Before, locked.Locked = "", "", true
						_, err1 := db.Snapshots.ListSnapshots(ctx, me, locked)
						_, err2 := db.Volumes.ListVolumes(ctx, me, locked)
						_, err3 := db.CountMatching(ctx, me, models.SubjectSnapshot, locked)
						must(t, err1, err2, err3)
					}
					_, err1 := db.CountMatching(ctx, me, models.SubjectSnapshot, q)
					_, err2 := db.CountMatching(ctx, me, models.SubjectVolume, q)
					must(t, err1, err2)
				}
			}
		}
	}
}

// queryOperations enqueues, lists and retries operations, and upserts rows.
func queryOperations(t *testing.T, db *store.Store, clock *storetest.Clock) {
	t.Helper()
	ctx, me, admin := t.Context(), storetest.Operator(), storetest.Administrator()
	must(t, db.Sync.SyncServers(ctx, []models.Server{{ID: "server-1", ProjectID: models.DefaultProject, Name: "web-1"}}),
		db.Sync.SyncImages(ctx, []models.Image{{ID: "image-1", Name: "debian", SizeBytes: 1}}), db.Sync.SyncServers(ctx, nil),
		db.Sync.SyncServers(ctx, []models.Server{{ID: "server-1", ProjectID: models.DefaultProject, Name: "web-1"}}))
	page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{Size: 200})
	must(t, err)
	snap := page.Rows[1]
	made, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "from-snap", SnapshotID: snap.ID, ServerID: "server-1", FormKey: "k"})
	must(t, err)
	ask := func(_ *models.Operation, err error) {
		t.Helper()
		must(t, err)
	}
	ask(db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "from-image", ImageID: "image-1", Size: "1"}))
	ask(db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: snap.VolumeID, Name: "another"}))
	ask(db.Snapshots.EditSnapshot(ctx, me, models.EditInput{ID: snap.ID, Name: "renamed"}))
	ask(db.Volumes.EditVolume(ctx, me, models.EditInput{ID: snap.VolumeID, Name: "renamed"}))
	ask(db.Snapshots.DeleteSnapshot(ctx, me, page.Rows[2].ID, ""))
	ask(db.Snapshots.DeleteSnapshot(ctx, me, snap.ID, ""))
	ask(db.Volumes.DeleteVolume(ctx, me, snap.VolumeID, ""))
	ask(db.Volumes.RevertVolume(ctx, me, page.Rows[0].ID, ""))
	ask(db.Volumes.ExtendVolume(ctx, me, page.Rows[150].VolumeID, "20", ""))
	ask(db.Volumes.AttachVolume(ctx, me, page.Rows[150].VolumeID, "server-1", ""))
	ask(db.Volumes.DetachVolume(ctx, me, page.Rows[0].VolumeID, "server-1", false, ""))
	was := db.Capabilities()
	servesSnapshots(db)
	server := register(t, db, "reader", "10.0.0.5")
	read := importSnapshot(t, db, page.Rows[4].VolumeID, "read", server.ID)
	ask(db.Snapshots.AttachSnapshot(ctx, me, read, server.ID, ""))
	ask(db.Snapshots.DetachSnapshot(ctx, me, read, server.ID, false, ""))
	db.SetCapabilities(was)
	ask(db.Snapshots.RepairSnapshot(ctx, admin, models.RepairInput{ID: page.Rows[3].ID, Reason: "stuck", ResetTo: models.ErrorStatus}))
	ask(db.Queue.CancelOperation(ctx, me, made.ID))
	failAll(t, db, clock)
	ops, err := db.Queue.ListOperations(ctx, me, models.OperationQuery{Limit: 100})
	must(t, err)
	for _, op := range ops {
		ask(db.Queue.RetryOperation(ctx, me, op.ID))
	}
	for _, q := range []models.OperationQuery{{Before: 3}, {State: models.Failed}, {State: models.Failed, Before: 9}, {Subject: snap.ID}, {Subject: snap.ID, State: models.Failed, Before: 9}} {
		q.Limit = 20
		_, err := db.Queue.ListOperations(ctx, me, q)
		must(t, err)
	}
	querySmall(t, db, ops, snap)
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		must(t, db.Sync.RecordSync(ctx, kind, clock.Now(), models.Failure{}), db.Sync.RecordSync(ctx, kind, clock.Now(), models.Failure{}))
		_, err := db.Sync.SyncMissing(ctx, kind, map[string]struct{}{}, clock.Now())
		must(t, err)
	}
	_, err = db.Sync.UpsertSnapshots(ctx, []store.ObservedObject{{BackendID: "new", Source: "nowhere", Project: models.DefaultProject}, {BackendID: snap.BackendID, Name: "x"}}, clock.Now())
	must(t, err)
	_, err = db.Sync.UpsertVolumes(ctx, []store.ObservedObject{{BackendID: "nowhere", Source: snap.ID, Project: models.DefaultProject}}, clock.Now())
	must(t, err)
}

func querySmall(t *testing.T, db *store.Store, ops []models.Operation, snap models.Snapshot) {
	t.Helper()
	ctx, me := t.Context(), storetest.Operator()
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	note(db.Volumes.Volume(ctx, me, snap.VolumeID))
	row, err := db.Snapshots.Snapshot(ctx, me, snap.BackendID)
	must(t, err)
	note(db.Snapshots.SnapshotBlockers(ctx, row))
	note(db.Volumes.VolumeBlockers(ctx, &models.Volume{ID: snap.VolumeID, SnapshotCount: 1}))
	note(db.Volumes.RevertDenial(ctx, row, &models.Volume{ID: snap.VolumeID, Status: models.Available, SizeGiB: row.SizeGiB}))
	note(db.Volumes.VolumesFrom(ctx, me, snap.ID, 20))
	note(db.NameTaken(ctx, me, models.SubjectSnapshot, snap.Name, ""))
	note(db.NameTaken(ctx, me, models.SubjectVolume, snap.Name, ""))
	note(db.Total(ctx, me, models.SubjectSnapshot))
	note(db.ListSummary(ctx, me, models.SubjectSnapshot))
	note(db.Queue.ExistingSubjects(ctx, me, ops))
	note(db.Sync.SyncState(ctx, models.SubjectSnapshot))
	note(db.LastChange(ctx))
	note(db.FirstChange(ctx))
	note(db.ChangesAfter(ctx, 5, 100))
	note(db.Snapshots.SnapshotsByID(ctx, []string{snap.ID}))
	note(db.Volumes.VolumesByID(ctx, []string{snap.VolumeID}))
	note(db.Queue.CountRunning(ctx, me.Project))
	note(db.ProjectsWith(ctx, me, models.SubjectSnapshot))
	note(db.Queue.FailedOperations(ctx, []string{ops[0].ID}))
	note(db.Queue.Operation(ctx, me, ops[0].ID))
	note(db.Snapshots.SnapshotByID(ctx, snap.ID))
	note(db.Volumes.VolumeByID(ctx, snap.VolumeID))
	note(db.Servers.ListServers(ctx, me, 10))
	note(db.Servers.ServersOfProject(ctx, me, "", 10))
	note(db.Servers.Server(ctx, me, "server-1"))
	note(db.Servers.ListImages(ctx))
	must(t, append(errs, db.Prune(ctx), db.ReleaseLeases(ctx))...)
}

func queryAccounts(t *testing.T, db *store.Store, clock *storetest.Clock) {
	t.Helper()
	ctx := t.Context()
	_, err := db.Users.EnsureFirstUser(ctx, adminPassword)
	must(t, err)
	token, in, err := db.Sessions.SignIn(ctx, models.Login{Name: models.FirstUser, Password: adminPassword, Address: "192.0.2.1"})
	must(t, err)
	clock.Add(2 * time.Minute)
	_, err = db.Sessions.Session(ctx, token)
	must(t, err)
	admin := in.Actor("192.0.2.1", "test")
	_, err = db.Sessions.ListSessions(ctx, admin)
	must(t, err)
	_, err = db.Users.ListUsers(ctx, admin)
	must(t, err)
	other, err := db.Users.AddUser(ctx, admin, "kim", models.Viewer, "another password")
	must(t, err)
	must(t, db.Users.SetRole(ctx, admin, other.ID, models.Operator), db.Users.SetDisabled(ctx, admin, other.ID, true), db.Users.DeleteUser(ctx, admin, other.ID),
		db.Sessions.EndOtherSessions(ctx, admin, in.ID), db.Sessions.EndSession(ctx, admin, in.ID))
	for _, at := range [][2]int64{{0, 0}, {5, 0}, {0, 5}} {
		_, err := db.SearchAudit(ctx, admin, models.AuditQuery{Before: at[0], After: at[1], Limit: 20})
		must(t, err)
	}
	for _, q := range []models.AuditQuery{{Search: "kim"}, {Search: "ki"}, {Action: "user.create"}, {Outcome: models.AuditDenied}, {From: 1, To: 2}, {Search: "kim", Before: 5, Action: "login"}} {
		q.Limit = 20
		_, err := db.SearchAudit(ctx, admin, q)
		must(t, err)
	}
	_, err = db.AuditActions(ctx, admin)
	must(t, err)
}
