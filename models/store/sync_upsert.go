package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// ObservedObject is a volume or snapshot in the backend's listing. ID is the console's
// id, empty for objects created elsewhere.
type ObservedObject struct {
	ID, BackendID string
	Project       string
	Name          string
	Description   string
	SizeGiB       int
	Source        string // id, either kind: of a volume its snapshot, of a snapshot its volume
	ImageID       string
	Type, Zone    string // of a volume
	CreatedAt     time.Time
	Outdated      bool // a newer state has been written: only the existence counts
	ObservedState
}

// UpsertVolumes updates and inserts the rows of a page of objects, and returns the
// console's ids of them. requestedAt is when the backend was called: rows that an
// operation is changing, or changed since, stay as they are. It writes only what differs.
// Errors: those of the database.
func (s Sync) UpsertVolumes(ctx context.Context, page []ObservedObject, requestedAt time.Time) ([]string, error) {
	return s.upsertPage(ctx, page, requestedAt, volumeUpsert)
}

// UpsertSnapshots is UpsertVolumes for snapshots. requestedAt is when the backend was
// called. Errors: those of the database.
func (s Sync) UpsertSnapshots(ctx context.Context, page []ObservedObject, requestedAt time.Time) ([]string, error) {
	return s.upsertPage(ctx, page, requestedAt, snapshotUpsert)
}

// upsertKind is what upserts of volumes and snapshots differ in.
type upsertKind struct {
	lookup func(s *Store, q *gorm.DB, page []ObservedObject) (*knownRows, error)
	apply  func(s *Store, tx *gorm.DB, id string, o ObservedState) error
	insert func(s *Store, tx *gorm.DB, new []ObservedObject) error
}

var (
	volumeUpsert   = upsertKind{(*Store).knownVolumes, (*Store).applyVolume, (*Store).insertVolumes}
	snapshotUpsert = upsertKind{(*Store).knownSnapshots, (*Store).applySnapshot, (*Store).insertSnapshots}
)

// syncBatch is the largest number of rows that one transaction of the mirror changes:
// clicks wait for it.
const syncBatch = 100

func (s *Store) upsertPage(ctx context.Context, page []ObservedObject, requestedAt time.Time, kind upsertKind) ([]string, error) {
	for i := range page {
		page[i] = page[i].sanitized()
	}
	known, err := kind.lookup(s, s.read(ctx), page)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, m := range page {
		ids = append(ids, cmp.Or(known.idOf(m), m.ID))
	}
	busy, err := busySubjects(s.read(ctx), ids, requestedAt)
	if err != nil {
		return nil, err
	}
	var listed []string
	var changed []ObservedObject
	younger := youngerDuplicates(page)
	for i, m := range page {
		id := known.idOf(m)
		switch {
		case known.isDuplicate(m), known.backends[id] == "" && younger[m.BackendID]:
		case busy[ids[i]], m.Outdated, id != "" && known.same(id, m):
			listed = append(listed, ids[i])
		default:
			changed = append(changed, m)
		}
	}
	for len(changed) > 0 {
		n := min(len(changed), syncBatch)
		ids, err := s.upsertChanged(ctx, changed[:n], requestedAt, kind)
		if err != nil {
			return listed, err
		}
		listed, changed = append(listed, ids...), changed[n:]
	}
	return listed, nil
}

// upsertChanged writes what differs. It locks the rows and then checks again that no
// operation has begun: a click locks its row before it inserts its operation.
func (s *Store) upsertChanged(ctx context.Context, changed []ObservedObject, requestedAt time.Time, kind upsertKind) ([]string, error) {
	var listed []string
	err := s.write(ctx, func(tx *gorm.DB) error {
		listed = nil
		known, err := kind.lookup(s, s.forUpdate(tx), changed)
		if err != nil {
			return err
		}
		var ids []string
		for _, m := range changed {
			ids = append(ids, cmp.Or(known.idOf(m), m.ID))
		}
		busy, err := busySubjects(tx, ids, requestedAt)
		if err != nil {
			return err
		}
		var unknown []ObservedObject
		for i, m := range changed {
			id := known.idOf(m)
			switch {
			case busy[ids[i]]:
				listed = append(listed, ids[i])
			case id == "":
				unknown = append(unknown, m)
			default:
				if err := kind.apply(s, tx, id, m.state()); err != nil {
					return err
				}
				listed = append(listed, id)
			}
		}
		unknown, err = withoutDeleted(tx, unknown, requestedAt)
		if len(unknown) == 0 || err != nil {
			return err
		}
		if err := kind.insert(s, tx, unknown); err != nil {
			return err
		}
		if known, err = kind.lookup(s, tx, unknown); err != nil { // another console may have inserted some of them
			return err
		}
		for _, m := range unknown {
			listed = append(listed, known.idOf(m))
		}
		return nil
	})
	return listed, err
}

// withoutDeleted leaves out the objects that an operation has deleted since requestedAt:
// the page is older than that.
func withoutDeleted(tx *gorm.DB, unknown []ObservedObject, requestedAt time.Time) ([]ObservedObject, error) {
	if len(unknown) == 0 {
		return nil, nil
	}
	const recent = 10_000 // newest operations: reading all of them would take too long
	var deletions []models.Operation
	err := tx.Select("params").Where("num > (SELECT max(num) FROM operations) - ?", recent).
		Where("kind IN ? AND state = ? AND finished_at >= ?", []models.Kind{models.VolumeDelete, models.SnapshotDelete}, models.Succeeded, models.Micros(requestedAt)).
		Find(&deletions).Error
	deleted := map[string]bool{}
	for _, op := range deletions {
		deleted[op.Params.BackendID] = op.Params.BackendID != ""
	}
	return slices.DeleteFunc(unknown, func(m ObservedObject) bool { return deleted[m.BackendID] }), err
}

// sanitized makes the backend's texts acceptable to both databases.
func (m ObservedObject) sanitized() ObservedObject {
	for _, text := range []*string{&m.ID, &m.BackendID, &m.Project, &m.Name, &m.Description, &m.Source, &m.ImageID, &m.Type, &m.Zone, &m.RequestID} {
		*text = models.Sanitize(*text)
	}
	m.Status, m.Failure = models.Status(models.Sanitize(string(m.Status))), m.Failure.Sanitized()
	return m
}

func (m ObservedObject) state() ObservedState {
	o := m.ObservedState
	o.BackendID, o.SizeGiB, o.Name, o.Description, o.fromListing = m.BackendID, m.SizeGiB, &m.Name, &m.Description, true
	o.Type, o.Zone = m.Type, m.Zone
	return o
}

// knownRows are the existing rows of a page of objects.
type knownRows struct {
	ids      map[string]string // the console's ids, by themselves and by the backend's
	backends map[string]string // the backend's ids, by the console's
	missing  map[string]bool   // marked by SyncMissing, by the console's id
	same     func(id string, m ObservedObject) bool
}

func newKnownRows() *knownRows {
	return &knownRows{ids: map[string]string{}, backends: map[string]string{}, missing: map[string]bool{}}
}

func (k *knownRows) add(id, backendID string, failure models.Failure) {
	k.ids[id], k.backends[id] = id, backendID
	k.missing[id] = failure.Key == failureMissing
	if backendID != "" {
		k.ids[backendID] = id
	}
}

// idOf returns the console's id of the row of an object: found by the backend's id, else
// by the console's id that the object carries.
func (k *knownRows) idOf(m ObservedObject) string {
	if id := k.ids[m.BackendID]; m.BackendID != "" && id != "" {
		return id
	}
	if m.ID == "" {
		return ""
	}
	return k.ids[m.ID]
}

// isDuplicate reports whether the object carries the id of a row of another object. It is
// the second result of a create call whose first response was lost, and gets no row.
func (k *knownRows) isDuplicate(m ObservedObject) bool {
	id := k.idOf(m)
	return id != "" && k.backends[id] != "" && k.backends[id] != m.BackendID && !k.missing[id]
}

// youngerDuplicates returns, of the objects of a page that carry one id, all but the
// oldest, by the backend's id.
func youngerDuplicates(page []ObservedObject) map[string]bool {
	oldest, younger := map[string]ObservedObject{}, map[string]bool{}
	for _, m := range page {
		if m.ID == "" {
			continue
		}
		other, exists := oldest[m.ID]
		switch {
		case !exists || other.BackendID == m.BackendID:
			oldest[m.ID] = m
		case m.CreatedAt.Before(other.CreatedAt):
			oldest[m.ID], younger[other.BackendID] = m, true
		default:
			younger[m.BackendID] = true
		}
	}
	return younger
}

func objectKeys(page []ObservedObject) (refs, backendIDs []string) {
	for _, m := range page {
		if m.ID != "" {
			refs = append(refs, m.ID)
		}
		backendIDs = append(backendIDs, m.BackendID)
	}
	return refs, backendIDs
}

const byEitherID = "id IN ? OR (backend_id IN ? AND backend_id <> '')"

func (s *Store) knownVolumes(q *gorm.DB, page []ObservedObject) (*knownRows, error) {
	refs, backendIDs := objectKeys(page)
	var rows []models.Volume
	if err := q.Where(byEitherID, refs, backendIDs).Order("num").Find(&rows).Error; err != nil {
		return nil, err
	}
	known := newKnownRows()
	if err := s.attachmentsOf(q.Session(&gorm.Session{NewDB: true}), rows); err != nil {
		return nil, err
	}
	byID := map[string]*models.Volume{}
	for i, r := range rows {
		known.add(r.ID, r.BackendID, r.Failure)
		byID[r.ID] = &rows[i]
	}
	known.same = func(id string, m ObservedObject) bool {
		v, o := byID[id], m.state()
		return len(s.changedColumns(o, volumeState(v), v.Consistency)) == 0 && (o.Attachments == nil || attachmentDiff(id, v.Attachments, *o.Attachments).empty())
	}
	return known, nil
}

func (s *Store) knownSnapshots(q *gorm.DB, page []ObservedObject) (*knownRows, error) {
	refs, backendIDs := objectKeys(page)
	var rows []models.Snapshot
	if err := q.Where(byEitherID, refs, backendIDs).Order("num").Find(&rows).Error; err != nil {
		return nil, err
	}
	known, byID := newKnownRows(), map[string]*models.Snapshot{}
	for i, r := range rows {
		known.add(r.ID, r.BackendID, r.Failure)
		byID[r.ID] = &rows[i]
	}
	known.same = func(id string, m ObservedObject) bool {
		return len(s.changedColumns(m.state(), snapshotState(byID[id]), byID[id].Consistency)) == 0
	}
	return known, nil
}

// busySubjects returns those of ids that an operation is changing, or changed since
// requestedAt.
func busySubjects(q *gorm.DB, ids []string, requestedAt time.Time) (map[string]bool, error) {
	var busy []string
	err := q.Model(&models.Operation{}).Where("subject_id IN ? AND (finished_at = 0 OR finished_at >= ?)", ids, models.Micros(requestedAt)).
		Distinct().Pluck("subject_id", &busy).Error
	set := map[string]bool{}
	for _, id := range busy {
		set[id] = true
	}
	return set, err
}
