// Package store keeps the types of package models in SQLite or PostgreSQL.
//
// A click is one transaction: its method checks the rules of package models, changes the
// row, and inserts an operation and an audit entry (volumes.go, snapshots.go, enqueue.go).
// Workers claim the operations and save their progress (queue.go, apply.go); users list,
// cancel and retry them (operations.go). The mirror updates the rows with what the backend
// has (sync_*.go). Triggers insert a row into changes for every change of the others, which
// pages follow (changes.go). Lists page by keyset and search by grams of the names
// (list.go, search.go).
//
// Every query is limited to the projects that the actor sees (projects.go).
package store

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/reserve"
)

// Store is the console's database. Its own methods concern the whole of it; each exported
// field has the queries and clicks of one kind of row. It is safe for concurrent use.
type Store struct {
	Volumes   Volumes
	Snapshots Snapshots
	Servers   Servers
	Users     Users
	Sessions  Sessions
	Queue     Queue
	Sync      Sync

	db       *gorm.DB
	log      *slog.Logger
	now      func() time.Time
	postgres bool
	schema   []string // the steps of migrate

	sessionsPerUser int

	// SQLite has one writer. A mutex is fair to those who wait; SQLite's busy handler, which polls, is not.
	writer sync.Mutex

	snapshotPages pageCache[models.Snapshot]
	volumePages   pageCache[models.Volume]

	signals  signals
	refusals refusals
	caps     atomic.Pointer[models.Capabilities]

	folder    string           // of the SQLite file
	reserve   *reserve.Reserve // of the disk that it is on; nil: none
	unsaved   atomic.Pointer[models.Text]
	deviceKey models.DeviceKey

	allProjects bool
	ownProject  atomic.Pointer[models.Project] // the project of new objects; nil: not known yet
	hasProjects atomic.Bool                    // the backend has projects
}

// The parts of a Store. Each embeds the Store, so that they share transactions, the
// clock and the project's scope.
type (
	// Volumes finds and lists volumes, and enqueues operations on them.
	Volumes struct{ *Store }
	// Snapshots finds and lists snapshots, and enqueues operations on them.
	Snapshots struct{ *Store }
	// Servers finds, lists and registers the servers that volumes are attached to, and lists images.
	Servers struct{ *Store }
	// Users finds, lists and changes the console's users.
	Users struct{ *Store }
	// Sessions signs users in and out.
	Sessions struct{ *Store }
	// Queue has the operations: workers claim them, save their progress and cancel or retry them.
	Queue struct{ *Store }
	// Sync updates the rows with the state of the backend; the mirror calls it.
	Sync struct{ *Store }
)

// SetCapabilities sets what Capabilities returns; the mirror calls it.
func (s *Store) SetCapabilities(caps models.Capabilities) { s.caps.Store(&caps) }

// Capabilities returns what the backend can do, as the mirror read it last.
func (s *Store) Capabilities() models.Capabilities {
	if caps := s.caps.Load(); caps != nil {
		return *caps
	}
	return models.Capabilities{FreeBytes: -1, MaxSizeGiB: -1}
}

// Rules are the rules for the present capabilities and time.
func (s *Store) Rules() models.Rules {
	return models.Rules{Capabilities: s.Capabilities(), Now: s.Now()}
}

// Now is the time of the store's clock, in UTC.
func (s *Store) Now() time.Time { return s.now().UTC() }

// Ping checks that the database answers. Errors: those of the database.
func (s *Store) Ping(ctx context.Context) error {
	db, err := s.db.DB()
	if err != nil {
		return err
	}
	return db.PingContext(ctx)
}

// Close writes what waits and closes the database. Errors: those of the database.
func (s *Store) Close() error {
	s.flushRefusals()
	db, err := s.db.DB()
	if err != nil {
		return err
	}
	return db.Close()
}

// write runs fn in a transaction, and wakes the subscribers after the commit. fn must not
// call the backend: transactions are short. PostgreSQL aborts a transaction in a
// deadlock, and on a full disk the reserve makes room; then fn runs again, so it must reset
// what it sets outside the database. Errors: CodeUnsaved, those of fn and of the database.
func (s *Store) write(ctx context.Context, fn func(tx *gorm.DB) error) error {
	err := s.writeUnsignalled(ctx, fn)
	if err == nil {
		s.signals.wake()
	}
	return err
}

const deadlockTries = 10

// writeUnsignalled is write for changes that no subscriber waits for.
func (s *Store) writeUnsignalled(ctx context.Context, fn func(tx *gorm.DB) error) error {
	if !s.postgres {
		s.writer.Lock()
		defer s.writer.Unlock()
	}
	for try := 1; ; try++ {
		err, retry := s.explainUnsaved(s.db.WithContext(ctx).Transaction(fn), try == 1)
		if err == nil || !retry && (!isDeadlock(err) || try == deadlockTries) {
			return err
		}
	}
}

func (s *Store) read(ctx context.Context) *gorm.DB { return s.db.WithContext(ctx) }

// IsPostgres reports whether the database is PostgreSQL, for tests that read its
// catalog.
func (s *Store) IsPostgres() bool { return s.postgres }

// snapshotForUpdate finds a snapshot with its attachments and locks its row.
func (s *Store) snapshotForUpdate(tx *gorm.DB, scope, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	if err := takeOne(s.forUpdate(byID(tx, scope, id)), &row); err != nil {
		return nil, s.deletion(tx, scope, models.SnapshotDelete, id, err)
	}
	return &row, tx.Where("subject_id = ?", row.ID).Order("server_name, server_id").Find(&row.Attachments).Error
}

// volumeForUpdate finds a volume with its attachments and locks its row.
func (s *Store) volumeForUpdate(tx *gorm.DB, scope, id string) (*models.Volume, error) {
	var row models.Volume
	if err := takeOne(s.forUpdate(byID(tx, scope, id)), &row); err != nil {
		return nil, s.deletion(tx, scope, models.VolumeDelete, id, err)
	}
	return &row, tx.Where("subject_id = ?", row.ID).Order("server_name, server_id").Find(&row.Attachments).Error
}

// deletion replaces an ErrNotFound by *models.GoneError where an operation of the kind
// has deleted the object. Other errors are returned as they are.
func (s *Store) deletion(db *gorm.DB, scope string, kind models.Kind, id string, err error) error {
	if !errors.Is(err, models.ErrNotFound) {
		return err
	}
	var op models.Operation
	found := takeOne(db.Where("subject_id = ? AND kind = ? AND state = ?", searchable(id), kind, models.Succeeded).Order("num DESC"), &op)
	switch {
	case errors.Is(found, models.ErrNotFound) || found == nil && scope != everyProject && op.ProjectID != scope:
		return err
	case found != nil:
		return found
	}
	return &models.GoneError{Kind: op.SubjectType, Name: op.SubjectName, By: op.AskedBy, At: op.AskedAt}
}

// deletionAudited is deletion for users and servers, whose deletion is no operation.
func (s *Store) deletionAudited(db *gorm.DB, project, subject, id string, err error) error {
	if !errors.Is(err, models.ErrNotFound) {
		return err
	}
	var e models.AuditEntry
	found := takeOne(db.Where("project_id = ? AND action = ? AND subject_id = ? AND outcome = ?",
		project, subject+".delete", searchable(id), models.AuditDone).Order("num DESC"), &e)
	switch {
	case errors.Is(found, models.ErrNotFound):
		return err
	case found != nil:
		return found
	}
	return &models.GoneError{Kind: models.SubjectType(subject), Name: e.SubjectName, By: e.UserName, At: e.At}
}

// byID limits a query to the object of a scope with the console's or the backend's id.
func byID(q *gorm.DB, scope, id string) *gorm.DB {
	id = searchable(id)
	return inProject(q.Where("(id = ? OR (backend_id = ? AND backend_id <> ''))", id, id), scope)
}

// changeRow updates a row if it still has the status that the rules were checked with;
// otherwise CodeConflict.
func changeRow(tx *gorm.DB, model any, id string, status models.Status, set map[string]any) error {
	result := tx.Model(model).Where("id = ? AND status = ?", id, status).Updates(set)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected != 1 {
		return &models.Error{Code: models.CodeConflict, Text: models.NewText("conflict.state")}
	}
	return nil
}

// statusColumns are the columns of a row whose status changes to the one that was
// requested.
func (s *Store) statusColumns(to models.Status) map[string]any {
	return map[string]any{"status": to, "status_since": models.Micros(s.Now()), "percent": backend.PercentUnknown, "failure": models.Failure{}, "request_id": ""}
}

// takeOne loads the row of query into dest; ErrNotFound when there is none. It does not
// sort, so the query must select one row by a unique key.
func takeOne(query *gorm.DB, dest any) error {
	result := query.Limit(1).Find(dest)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected == 0 {
		return models.ErrNotFound
	}
	return nil
}

// forUpdate locks the rows that a transaction reads before it changes them. On SQLite a
// writing transaction has the whole database to itself.
func (s *Store) forUpdate(tx *gorm.DB) *gorm.DB {
	if s.postgres {
		return tx.Clauses(lockingForUpdate)
	}
	return tx
}

// unindexed writes the column so that SQLite, which has no statistics here, does not
// choose an index for it.
func (s *Store) unindexed(column string) string {
	if s.postgres {
		return column
	}
	return "+" + column
}

// attachedOf is the id and the attachments of a row.
type attachedOf[R any] func(row *R) (id string, attached *models.Attached)

func volumeAttached(v *models.Volume) (string, *models.Attached) { return v.ID, &v.Attached }

func snapshotAttached(s *models.Snapshot) (string, *models.Attached) { return s.ID, &s.Attached }

// loadAttached fills in the attachments and connections of rows.
func loadAttached[R any](q *gorm.DB, rows []R, of attachedOf[R]) error {
	return loadListed(q, rows, of, func(*R) bool { return true })
}

// loadListed is loadAttached with the connections of only those rows for which busy
// returns true.
func loadListed[R any](q *gorm.DB, rows []R, of attachedOf[R], busy func(*R) bool) error {
	if err := attachmentsOf(q, rows, of); err != nil {
		return err
	}
	return loadOf(q.Order("subject_id, since, id"), rows, of, busy, func(c models.Connection) string { return c.SubjectID },
		func(to *models.Attached, c models.Connection) { to.Connections = append(to.Connections, c) })
}

// attachmentsOf fills in the attachments of rows.
func attachmentsOf[R any](q *gorm.DB, rows []R, of attachedOf[R]) error {
	some := func(row *R) bool { _, attached := of(row); return attached.AttachmentCount > 0 }
	return loadOf(q.Order("server_name, server_id"), rows, of, some, func(a models.Attachment) string { return a.SubjectID },
		func(to *models.Attached, a models.Attachment) { to.Attachments = append(to.Attachments, a) })
}

// loadOf calls add with each row of another table that belongs to a wanted row.
func loadOf[R, T any](q *gorm.DB, rows []R, of attachedOf[R], wanted func(*R) bool, owner func(T) string, add func(to *models.Attached, one T)) error {
	var ids []string
	byID := map[string]*models.Attached{}
	for i := range rows {
		if id, attached := of(&rows[i]); wanted(&rows[i]) {
			ids = append(ids, id)
			byID[id] = attached
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var found []T
	err := q.Where("subject_id IN ?", ids).Find(&found).Error
	for _, one := range found {
		add(byID[owner(one)], one)
	}
	return err
}
