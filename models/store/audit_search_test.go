package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// addAudit inserts entries past the store, as the triggers see them.
func addAudit(t *testing.T, db *store.Store, entries ...models.AuditEntry) {
	t.Helper()
	for i := range entries {
		entries[i].ProjectID, entries[i].Count = models.DefaultProject, max(entries[i].Count, 1)
	}
	must(t, db.DB().Create(&entries).Error)
}

func TestSearchAudit_FindsEveryPart(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		now := models.Micros(clock.Now())
		addAudit(t, db,
			models.AuditEntry{At: now, UserName: "Kim", Address: "192.0.2.10", Action: "volume.create", SubjectType: "volume", SubjectID: "0193a5c0-7e1f-7a2b-8c3d-000000000001", SubjectName: "웹-Data", Detail: `{"name":"renamed-to"}`, Outcome: models.AuditAccepted, RequestID: "0193a5c0-aaaa-7a2b-8c3d-000000000009"},
			models.AuditEntry{At: now + 1e6, UserName: "lee", Address: "2001:db8::1", Action: "login.failed", Outcome: models.AuditDenied, Count: 3, LastAt: now + 5e6, Fold: "x"},
			models.AuditEntry{At: now + 2e6, UserName: "lee", Address: "2001:db8::1", Action: "login", Outcome: models.AuditDone})
		find := func(q models.AuditQuery) string {
			t.Helper()
			q.Limit = 10
			page, err := db.SearchAudit(t.Context(), storetest.Administrator(), q)
			must(t, err)
			var all []string
			for _, e := range page.Entries {
				all = append(all, e.Action)
			}
			return strings.Join(all, " ")
		}
		const created, failed, both = "volume.create", "login.failed", "login login.failed"
		for text, want := range map[string]string{
			"kim": created, "KIM": created, "ki": created, "웹": created, "웹-data": created, "192.0.2.10": created, "renamed": created,
			"0193a5c0-7e1f-7a2b-8c3d-000000000001": created, "0193a5c0-aaaa": created, "volume.create": created,
			"lee": both, "login": both, "2001:db8": both, "fail": failed, "nobody": "", "\x00": "", `"kim`: "", "le%": "", "' OR 1=1": "", "kim\n192": created, "\xff\xfe\xfd": "",
		} {
			if got := find(models.AuditQuery{Search: text}); got != want {
				t.Errorf("%q finds %q, want %q", text, got, want)
			}
		}
		for _, tt := range []struct {
			q    models.AuditQuery
			want string
		}{
			{models.AuditQuery{Action: "login"}, "login"}, {models.AuditQuery{Outcome: models.AuditDenied}, failed},
			{models.AuditQuery{Search: "lee", Outcome: models.AuditDone}, "login"}, {models.AuditQuery{From: now + 2e6}, both},
			{models.AuditQuery{From: now + 6e6}, ""}, {models.AuditQuery{To: now + 1e6}, created}, {models.AuditQuery{From: now, To: now + 2e6}, "login.failed volume.create"},
			{models.AuditQuery{Search: "lee", From: now + 4e6}, failed},
		} {
			if got := find(tt.q); got != tt.want {
				t.Errorf("%+v finds %q, want %q", tt.q, got, tt.want)
			}
		}
		actions, err := db.AuditActions(t.Context(), storetest.Administrator())
		if err != nil || !slices.Equal(actions, []string{"login", "login.failed", "volume.create"}) {
			t.Errorf("actions %q, error %v", actions, err)
		}
		other := storetest.Administrator()
		other.Project = "other"
		if page, err := db.SearchAudit(t.Context(), other, models.AuditQuery{Search: "lee", Limit: 5}); err != nil || len(page.Entries) > 0 {
			t.Errorf("another project finds %d, error %v", len(page.Entries), err)
		}
	})
}

// TestSearchAudit_Pages goes through what is found, there and back, and finds nothing of
// what was pruned.
func TestSearchAudit_Pages(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		var entries []models.AuditEntry
		for i := range 25 {
			entries = append(entries, models.AuditEntry{At: models.Micros(clock.Now()), UserName: []string{"kim", "lee"}[i%2], Action: fmt.Sprintf("step-%02d", i)})
		}
		addAudit(t, db, entries...)
		me := storetest.Administrator()
		read := func(q models.AuditQuery) models.AuditPage {
			t.Helper()
			q.Search, q.Limit = "kim", 5
			page, err := db.SearchAudit(t.Context(), me, q)
			must(t, err)
			return page
		}
		first := read(models.AuditQuery{})
		second := read(models.AuditQuery{Before: first.Older})
		third := read(models.AuditQuery{Before: second.Older})
		if len(first.Entries) != 5 || len(second.Entries) != 5 || len(third.Entries) != 3 || third.Older != 0 || first.Newer != 0 {
			t.Fatalf("pages of %d, %d and %d", len(first.Entries), len(second.Entries), len(third.Entries))
		}
		if back := read(models.AuditQuery{After: third.Newer}); len(back.Entries) != 5 || back.Entries[0].Num != second.Entries[0].Num {
			t.Errorf("back is %+v", back)
		}
		clock.Add(store.AuditKept + time.Hour)
		must(t, db.Prune(t.Context()))
		if left := read(models.AuditQuery{}); len(left.Entries) > 0 {
			t.Errorf("%d pruned entries are found", len(left.Entries))
		}
	})
}

// TestSearchAudit_OfBeforeTheIndex: entries that were there before the migration are
// found.
func TestSearchAudit_OfBeforeTheIndex(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		tx := db.DB().Session(&gorm.Session{})
		if db.DB().Dialector.Name() == "sqlite" {
			for _, name := range []string{"TRIGGER audit_text_inserted", "TRIGGER audit_text_deleted", "TABLE audit_fts", "INDEX audit_by_action", "INDEX audit_by_outcome"} {
				must(t, tx.Exec("DROP "+name).Error)
			}
		} else {
			must(t, tx.Exec("DROP FUNCTION audit_text CASCADE").Error)
			must(t, tx.Exec("DROP FUNCTION trigrams CASCADE").Error)
			must(t, tx.Exec("DROP INDEX audit_by_action, audit_by_outcome").Error)
		}
		addAudit(t, db, models.AuditEntry{At: models.Micros(clock.Now()), UserName: "old-timer", Action: "login"})
		must(t, tx.Exec("DELETE FROM migrations WHERE id = '0005_audit_search'").Error)
		must(t, store.Migrate(db))
		page, err := db.SearchAudit(t.Context(), storetest.Administrator(), models.AuditQuery{Search: "old-timer", Limit: 5})
		if err != nil || len(page.Entries) != 1 {
			t.Errorf("%d entries, error %v", len(page.Entries), err)
		}
	})
}
