package models_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/modelstest"
)

// wholeTables are statements that read a whole small table because they want all
// idOf it.
var wholeTables = []string{
	"SELECT * FROM `servers`", `SELECT * FROM "servers"`, // the mirror compares all of them
	"DELETE FROM leases", // who starts alone on a file gives all back
	"SELECT * FROM `images`", `SELECT * FROM "images"`,
	"SELECT * FROM `connections`", `SELECT * FROM "connections"`, // and these
	"SELECT count(*) FROM `users`", `SELECT count(*) FROM "users"`, // is this the first start?
	"SELECT `id` FROM `users` WHERE role", `SELECT "id" FROM "users" WHERE role`, // who is left that can add users?
	"SELECT * FROM `operations` ORDER BY num DESC LIMIT", `SELECT * FROM "operations" ORDER BY num DESC LIMIT`, // a page along a primary key
	"DELETE FROM operations WHERE num IN", "DELETE FROM audit WHERE num IN", // a batch from the old end of one
	"SELECT min(seq) FROM changes", "SELECT max(seq) FROM changes", // the ends of a primary key
}

// TestEveryStatementHasItsIndex runs everything the store can ask and lets the
// database explain how it answers: no table is read from one end to the other.
func TestEveryStatementHasItsIndex(t *testing.T) {
	modelstest.Each(t, func(t *testing.T, store *models.Store, clock *modelstest.Clock) {
		modelstest.SeedSnapshots(t, store, 1200)
		explainAll(t, store, clock)
	})
}

// TestAllProjectsHaveTheirIndexes is the same for a console that shows every
// project.
func TestAllProjectsHaveTheirIndexes(t *testing.T) {
	modelstest.Each(t, func(t *testing.T, one *models.Store, clock *modelstest.Clock) {
		store := modelstest.AllProjects(t, one, clock.Now)
		modelstest.SeedSnapshots(t, store, 1200)
		none(t, store.DB().Exec("UPDATE snapshots SET project_id = 'another' WHERE num % 2 = 0").Error)
		explainAll(t, store, clock)
	})
}

func explainAll(t *testing.T, store *models.Store, clock *modelstest.Clock) {
	t.Helper()
	{
		store.SetCapabilities(models.Capabilities{Abilities: models.Abilities{Attach: true, Revert: true, Repair: true, BusySnapshots: true}, FreeBytes: -1})
		end := store.Capture()
		askAllLists(t, store)
		askEverything(t, store, clock)
		askPeople(t, store, clock)
		askServers(t, store)
		asked, statements := map[string]bool{}, 0
		for _, s := range end() {
			if verb, _, _ := strings.Cut(s.SQL, " "); asked[s.SQL] || !strings.Contains("SELECT UPDATE DELETE", verb) || strings.Contains(s.SQL, "pg_advisory") {
				continue
			}
			asked[s.SQL] = true
			statements++
			for _, bad := range scans(t, store, s) {
				t.Errorf("%s\n\t%s", bad, s.SQL)
			}
		}
		if statements < 100 {
			t.Errorf("only %d different statements", statements)
		}
	}
}

var (
	// A scan of an alias that is a subquery, of a search index or along a partial index is none of a table; nor is one
	// that follows a list of all projects in its order, or the operations' primary key, as far as a page needs.
	sqliteScan   = regexp.MustCompile(`^SCAN (t|v|o|p|s|u|volumes|snapshots|operations|changes|counters|mirror|users|sessions|audit|attachments|servers|images|login_failures)\b`)
	partialIndex = regexp.MustCompile(`USING (COVERING )?INDEX (operations_(due|running|by_lane)|(volumes|snapshots)_all_by_)`)
	wholeList    = regexp.MustCompile(`t WHERE (t\.project_id = \?|TRUE|t\.status = \?|instr\()`)
	filteredList = regexp.MustCompile(`t\.num IN|t\.volume_id = \?|server_id = \?`)
)

func scans(t *testing.T, store *models.Store, s models.Statement) []string {
	t.Helper()
	for _, whole := range wholeTables {
		if strings.HasPrefix(s.SQL, whole) {
			return nil
		}
	}
	var bad []string
	if !store.IsPostgres() {
		var plan []struct{ Detail string }
		if err := store.DB().Raw("EXPLAIN QUERY PLAN "+s.SQL, s.Vars...).Scan(&plan).Error; err != nil {
			t.Fatalf("%s: %v", s.SQL, err)
		}
		walk := strings.Contains(s.SQL, "ORDER BY") && (strings.Contains(s.SQL, "WHERE t.project_id = ?") ||
			wholeList.MatchString(s.SQL) && !filteredList.MatchString(s.SQL)) // the list in its order, not some rows sorted
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
	err := store.DB().Transaction(func(tx *gorm.DB) error {
		if err := tx.Exec("SET LOCAL enable_seqscan = off").Error; err != nil {
			return err
		}
		var lines []string
		sql := s.SQL
		for i := range s.Vars { // gorm writes them as $1
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

// askAllLists asks for every combination of order, direction, filter and search,
// from the beginning and from cursors.
func askAllLists(t *testing.T, store *models.Store) {
	t.Helper()
	ctx, me := t.Context(), modelstest.Operator()
	page, err := store.Snapshots(ctx, me, models.ListQuery{})
	if err != nil || len(page.Rows) == 0 {
		t.Fatal(err)
	}
	volume := page.Rows[0].VolumeID
	attach(t, store, volume, "server-1")
	searches := []string{"", "s", "sn", "snap", "0000777", "zzz", page.Rows[0].ID}
	for _, sort := range some(sorts) {
		for _, status := range []models.Status{"", models.Available} {
			for _, filter := range []string{"", volume} {
				for _, search := range searches {
					q := models.ListQuery{Sort: sort, Status: status, VolumeID: filter, Search: search, Size: 20}
					if filter != "" {
						q.ServerID = "server-1"
					}
					at := models.EncodeCursor(sort, map[string]string{"name": "snap-0000500", "status": "AVAILABLE"}[strings.TrimPrefix(sort, "-")], page.Rows[10].ID)
					if strings.HasSuffix(sort, "created_at") || strings.HasSuffix(sort, "size") {
						at = models.EncodeCursor(sort, "5", page.Rows[10].ID)
					}
					for _, cursor := range [][2]string{{"", ""}, {at, ""}, {"", at}} {
						q.After, q.Before = cursor[0], cursor[1]
						_, err1 := store.Snapshots(ctx, me, q)
						_, err2 := store.Volumes(ctx, me, q)
						none(t, err1, err2)
					}
					_, err1 := store.CountMatching(ctx, me, models.SubjectSnapshot, q)
					_, err2 := store.CountMatching(ctx, me, models.SubjectVolume, q)
					none(t, err1, err2)
				}
			}
		}
	}
}

// none fails the test at once with the errors that are not nil or refusals.
func none(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil && models.AsError(err) == nil {
			t.Fatal(err)
		}
	}
}

// attach makes the row say that the volume is attached.
func attach(t *testing.T, store *models.Store, volume, server string) {
	t.Helper()
	row, err := store.VolumeRow(t.Context(), volume)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.UpsertVolumes(t.Context(), []models.ObservedObject{{ID: row.ID, BackendID: row.BackendID, Name: row.Name, SizeGiB: row.SizeGiB,
		ObservedState: models.ObservedState{Status: models.InUse, Percent: -1, Attachments: &[]models.Attachment{{ServerID: server, ServerName: server}}}}}, store.Now())
	if err != nil {
		t.Fatal(err)
	}
}

// askEverything uses the operations, the mirror and the small questions.
func askEverything(t *testing.T, store *models.Store, clock *modelstest.Clock) {
	t.Helper()
	ctx, me, admin := t.Context(), modelstest.Operator(), modelstest.Administrator()
	none(t, store.SyncServers(ctx, []models.Server{{ID: "server-1", ProjectID: models.DefaultProject, Name: "web-1"}}),
		store.SyncImages(ctx, []models.Image{{ID: "image-1", Name: "debian", SizeBytes: 1}}), store.SyncServers(ctx, nil),
		store.SyncServers(ctx, []models.Server{{ID: "server-1", ProjectID: models.DefaultProject, Name: "web-1"}}))
	page, err := store.Snapshots(ctx, me, models.ListQuery{Size: 200})
	none(t, err)
	snap := page.Rows[1]
	made, err := store.CreateVolume(ctx, me, models.VolumeInput{Name: "from-snap", SnapshotID: snap.ID, ServerID: "server-1", FormKey: "k"})
	none(t, err)
	ask := func(_ *models.Operation, err error) {
		t.Helper()
		none(t, err)
	}
	ask(store.CreateVolume(ctx, me, models.VolumeInput{Name: "from-image", ImageID: "image-1", Size: "1"}))
	ask(store.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: snap.VolumeID, Name: "another"}))
	ask(store.EditSnapshot(ctx, me, models.EditInput{ID: snap.ID, Name: "renamed"}))
	ask(store.EditVolume(ctx, me, models.EditInput{ID: snap.VolumeID, Name: "renamed"}))
	ask(store.DeleteSnapshot(ctx, me, page.Rows[2].ID, ""))
	ask(store.DeleteSnapshot(ctx, me, snap.ID, ""))
	ask(store.DeleteVolume(ctx, me, snap.VolumeID, ""))
	ask(store.RevertVolume(ctx, me, page.Rows[0].ID, ""))
	ask(store.ExtendVolume(ctx, me, page.Rows[150].VolumeID, "20", ""))
	ask(store.AttachVolume(ctx, me, page.Rows[150].VolumeID, "server-1", ""))
	ask(store.DetachVolume(ctx, me, page.Rows[0].VolumeID, "server-1", false, ""))
	ask(store.RepairSnapshot(ctx, admin, models.RepairInput{ID: page.Rows[3].ID, Reason: "stuck", ResetTo: models.ErrorStatus}))
	ask(store.CancelOperation(ctx, me, made.ID))
	workThrough(t, store, clock)
	ops, err := store.Operations(ctx, me, models.OperationQuery{Limit: 100})
	none(t, err)
	for _, op := range ops {
		ask(store.RetryOperation(ctx, me, op.ID))
	}
	for _, q := range []models.OperationQuery{{Before: 3}, {State: models.Failed}, {State: models.Failed, Before: 9}, {Subject: snap.ID}, {Subject: snap.ID, State: models.Failed, Before: 9}} {
		q.Limit = 20
		_, err := store.Operations(ctx, me, q)
		none(t, err)
	}
	askSmall(t, store, ops, snap)
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		none(t, store.RecordSync(ctx, kind, clock.Now(), models.Failure{}), store.RecordSync(ctx, kind, clock.Now(), models.Failure{}))
		_, err := store.SyncMissing(ctx, kind, map[string]struct{}{}, clock.Now())
		none(t, err)
	}
	_, err = store.UpsertSnapshots(ctx, []models.ObservedObject{{BackendID: "new", Source: "nowhere", Project: models.DefaultProject}, {BackendID: snap.BackendID, Name: "x"}}, clock.Now())
	none(t, err)
	_, err = store.UpsertVolumes(ctx, []models.ObservedObject{{BackendID: "nowhere", Source: snap.ID, Project: models.DefaultProject}}, clock.Now())
	none(t, err)
}

// workThrough claims everything and lets it fail.
func workThrough(t *testing.T, store *models.Store, clock *modelstest.Clock) {
	t.Helper()
	ctx := t.Context()
	for {
		_, err := store.NextDue(ctx)
		none(t, err)
		op, err := store.Claim(ctx, "w", time.Minute)
		none(t, err)
		if op == nil {
			return
		}
		none(t, store.Heartbeat(ctx, op, time.Minute), store.RecordCall(ctx, op), store.ForgetCall(ctx, op, 0),
			store.SaveProgress(ctx, op, models.Progress{State: models.Failed, RunAt: clock.Now(), CountAttempt: true, RequestID: "r",
				Subject: &models.ObservedState{Status: models.ErrorStatus, Percent: -1, Failure: models.Failure{Text: models.NewText("failure.internal")}}}))
	}
}

func askSmall(t *testing.T, store *models.Store, ops []models.Operation, snap models.Snapshot) {
	t.Helper()
	ctx, me := t.Context(), modelstest.Operator()
	var errs []error
	note := func(_ any, err error) { errs = append(errs, err) }
	note(store.Volume(ctx, me, snap.VolumeID))
	row, err := store.Snapshot(ctx, me, snap.BackendID)
	none(t, err)
	note(store.SnapshotBlockers(ctx, row))
	note(store.VolumeBlockers(ctx, &models.Volume{ID: snap.VolumeID, SnapshotCount: 1}))
	note(store.RevertDenial(ctx, row, &models.Volume{ID: snap.VolumeID, Status: models.Available, SizeGiB: row.SizeGiB}))
	note(store.VolumesFrom(ctx, me, snap.ID, 20))
	note(store.NameTaken(ctx, me, models.SubjectSnapshot, snap.Name, ""))
	note(store.NameTaken(ctx, me, models.SubjectVolume, snap.Name, ""))
	note(store.Total(ctx, me, models.SubjectSnapshot))
	note(store.ListSummary(ctx, me, models.SubjectSnapshot))
	note(store.SubjectsThatExist(ctx, me, ops))
	note(store.SyncState(ctx, models.SubjectSnapshot))
	note(store.LastChange(ctx))
	note(store.FirstChange(ctx))
	note(store.ChangesAfter(ctx, 5, 100))
	note(store.SnapshotsByID(ctx, []string{snap.ID}))
	note(store.VolumesByID(ctx, []string{snap.VolumeID}))
	note(store.Running(ctx, me.Project))
	note(store.ProjectsWith(ctx, me, models.SubjectSnapshot))
	note(store.FailedOperations(ctx, []string{ops[0].ID}))
	note(store.Operation(ctx, me, ops[0].ID))
	note(store.SnapshotRow(ctx, snap.ID))
	note(store.VolumeRow(ctx, snap.VolumeID))
	note(store.Servers(ctx, me, 10))
	note(store.ServersOf(ctx, me, "", 10))
	note(store.Server(ctx, me, "server-1"))
	note(store.Images(ctx))
	none(t, append(errs, store.Prune(ctx), store.ReleaseLeases(ctx))...)
}

func askPeople(t *testing.T, store *models.Store, clock *modelstest.Clock) {
	t.Helper()
	ctx := t.Context()
	_, err := store.EnsureFirstUser(ctx, adminPassword)
	none(t, err)
	token, in, err := store.SignIn(ctx, models.Login{Name: models.FirstUser, Password: adminPassword, Address: "192.0.2.1"})
	none(t, err)
	clock.Add(2 * time.Minute)
	_, err = store.Session(ctx, token)
	none(t, err)
	admin := in.Actor("192.0.2.1", "test")
	_, err = store.Sessions(ctx, admin)
	none(t, err)
	_, err = store.Users(ctx, admin)
	none(t, err)
	other, err := store.AddUser(ctx, admin, "kim", models.Viewer, "another password")
	none(t, err)
	none(t, store.SetRole(ctx, admin, other.ID, models.Operator), store.SetDisabled(ctx, admin, other.ID, true), store.DeleteUser(ctx, admin, other.ID),
		store.EndOtherSessions(ctx, admin, in.ID), store.EndSession(ctx, admin, in.ID))
	for _, at := range [][2]int64{{0, 0}, {5, 0}, {0, 5}} {
		_, err := store.Audit(ctx, admin, at[0], at[1], 20)
		none(t, err)
	}
}
