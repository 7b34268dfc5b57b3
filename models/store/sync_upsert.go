package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

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
	Lock          models.Lock // for a row that does not exist yet: the rows know best
	Outdated      bool        // a newer state has been written: only the existence counts
	ObservedState
}

// UpsertVolumes updates and inserts the rows of a page of objects, and returns the
// console's ids of them. requestedAt is when the backend was called: rows that an
// operation is changing, or changed since, stay as they are. It writes only what differs.
// Errors: those of the database.
func (s Sync) UpsertVolumes(ctx context.Context, page []ObservedObject, requestedAt time.Time) ([]string, error) {
	return s.upsertPage(ctx, page, requestedAt, models.SubjectVolume)
}

// UpsertSnapshots is UpsertVolumes for snapshots. requestedAt is when the backend was
// called. Errors: those of the database.
func (s Sync) UpsertSnapshots(ctx context.Context, page []ObservedObject, requestedAt time.Time) ([]string, error) {
	return s.upsertPage(ctx, page, requestedAt, models.SubjectSnapshot)
}

// syncBatch is the largest number of rows that one transaction of the mirror changes:
// clicks wait for it.
const syncBatch = 100

func (s *Store) upsertPage(ctx context.Context, page []ObservedObject, requestedAt time.Time, kind models.SubjectType) ([]string, error) {
	for i := range page {
		page[i] = page[i].sanitized()
	}
	known, err := s.knownRows(s.read(ctx), kind, page)
	if err != nil {
		return nil, err
	}
	ids, busy, err := known.busy(s.read(ctx), page, requestedAt)
	if err != nil {
		return nil, err
	}
	var listed []string
	var changed []ObservedObject
	younger := youngerDuplicates(page)
	for i, m := range page {
		id := known.idOf(m)
		switch {
		case known.isDuplicate(m), known.rows[id].backendID == "" && younger[m.BackendID]:
		case busy[ids[i]], m.Outdated, id != "" && s.same(m, known.rows[id]):
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
func (s *Store) upsertChanged(ctx context.Context, changed []ObservedObject, requestedAt time.Time, kind models.SubjectType) ([]string, error) {
	var listed []string
	err := s.write(ctx, func(tx *gorm.DB) error {
		listed = nil
		known, err := s.knownRows(s.forUpdate(tx), kind, changed)
		if err != nil {
			return err
		}
		ids, busy, err := known.busy(tx, changed, requestedAt)
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
				if err := s.apply(tx, kind, id, m.state()); err != nil {
					return err
				}
				listed = append(listed, id)
			}
		}
		unknown, err = withoutDeleted(tx, unknown, requestedAt)
		if len(unknown) == 0 || err != nil {
			return err
		}
		insert := s.insertVolumes
		if kind == models.SubjectSnapshot {
			insert = s.insertSnapshots
		}
		if err := insert(tx, unknown); err != nil {
			return err
		}
		if known, err = s.knownRows(tx, kind, unknown); err != nil { // another console may have inserted some of them
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
	for _, text := range []*string{&m.ID, &m.BackendID, &m.Project, &m.Name, &m.Description, &m.Source, &m.ImageID, &m.Type, &m.Zone, &m.RequestID, &m.Lock.LockReason, &m.Lock.LockedBy} {
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
	ids  map[string]string   // the console's ids, by themselves and by the backend's
	rows map[string]rowState // by the console's id
}

func (s *Store) knownRows(q *gorm.DB, kind models.SubjectType, page []ObservedObject) (*knownRows, error) {
	rows, err := s.rowStates(q.Where(byEitherID, idsOf(page, ref), idsOf(page, backendID)).Order("num"), kind)
	known := &knownRows{map[string]string{}, map[string]rowState{}}
	for _, r := range rows {
		known.rows[r.id] = r
		known.ids[r.id] = r.id
		if r.backendID != "" {
			known.ids[r.backendID] = r.id
		}
	}
	return known, err
}

// same reports whether the row has the state of the object.
func (s *Store) same(m ObservedObject, row rowState) bool {
	o := m.state()
	return len(s.changedColumns(o, row)) == 0 && (o.Attachments == nil || attachmentDiff(row.id, row.attachments, *o.Attachments).empty())
}

// busy returns the console's ids of the objects, and which of them are busy.
func (k *knownRows) busy(q *gorm.DB, objects []ObservedObject, requestedAt time.Time) (ids []string, busy map[string]bool, err error) {
	for _, m := range objects {
		ids = append(ids, cmp.Or(k.idOf(m), m.ID))
	}
	busy, err = busySubjects(q, ids, requestedAt)
	return ids, busy, err
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
	row := k.rows[k.idOf(m)]
	return row.backendID != "" && row.backendID != m.BackendID && row.failure.Key != failureMissing
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

const byEitherID = "id IN ? OR (backend_id IN ? AND backend_id <> '')"

// busySubjects returns those of ids that an operation is changing, or changed since
// requestedAt. A check, which may wait for days, changes nothing before its end.
func busySubjects(q *gorm.DB, ids []string, requestedAt time.Time) (map[string]bool, error) {
	var busy []string
	err := q.Model(&models.Operation{}).Where("subject_id IN ? AND (finished_at = 0 AND kind <> ? OR finished_at >= ?)", ids, models.SnapshotCheck, models.Micros(requestedAt)).
		Distinct().Pluck("subject_id", &busy).Error
	set := map[string]bool{}
	for _, id := range busy {
		set[id] = true
	}
	return set, err
}

// insertVolumes inserts the rows of volumes created elsewhere, in a few statements. Rows
// that another console on the database has inserted meanwhile stay as they are.
func (s *Store) insertVolumes(tx *gorm.DB, objects []ObservedObject) error {
	var sources []models.Snapshot
	if err := tx.Where(byEitherID, idsOf(objects, source), idsOf(objects, source)).Find(&sources).Error; err != nil {
		return err
	}
	byID := map[string]*models.Snapshot{}
	for i, row := range sources {
		byID[row.ID], byID[row.BackendID] = &sources[i], &sources[i]
	}
	rows := make([]models.Volume, 0, len(objects))
	for _, m := range objects {
		row := models.Volume{
			ID: cmp.Or(m.ID, models.NewID()), BackendID: m.BackendID, ProjectID: m.Project, Name: m.Name, Description: m.Description,
			Status: m.Status, StatusSince: models.Micros(s.Now()), Percent: m.Percent, Failure: m.Failure, RequestID: m.RequestID,
			SizeGiB: m.SizeGiB, ImageID: m.ImageID, VolumeType: m.Type, Zone: m.Zone, Origin: models.Elsewhere,
			CreatedAt: models.Micros(m.CreatedAt), Lock: m.Lock, Version: 1,
		}
		if m.Export != nil {
			row.Export = *m.Export
		}
		if source := byID[m.Source]; m.Source != "" && source != nil {
			row.SnapshotID, row.Consistency = source.ID, source.Consistency
		}
		rows = append(rows, row)
	}
	if err := insertMissing(tx, &rows); err != nil {
		return err
	}
	known, err := s.knownRows(tx, models.SubjectVolume, objects)
	if err != nil {
		return err
	}
	if err := adoptSnapshots(tx, objects, known); err != nil {
		return err
	}
	return insertAttachments(tx, objects, known)
}

// insertAttachments inserts the attachments of objects whose rows were just inserted.
func insertAttachments(tx *gorm.DB, objects []ObservedObject, known *knownRows) error {
	for _, m := range objects {
		if id := known.idOf(m); id != "" && m.Attachments != nil && len(*m.Attachments) > 0 {
			if err := attachmentDiff(id, known.rows[id].attachments, *m.Attachments).apply(tx); err != nil {
				return err
			}
		}
	}
	return nil
}

// adoptSnapshots sets the volume of snapshots that were listed before their volumes.
func adoptSnapshots(tx *gorm.DB, objects []ObservedObject, known *knownRows) error {
	var unresolved []string
	err := tx.Model(&models.Snapshot{}).Where("volume_id IN ?", idsOf(objects, backendID)).Distinct().Pluck("volume_id", &unresolved).Error
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, m := range objects {
		names[m.BackendID] = m.Name
	}
	for _, id := range unresolved {
		if known.ids[id] == "" || known.ids[id] == id {
			continue
		}
		err := tx.Model(&models.Snapshot{}).Where("volume_id = ?", id).
			Updates(map[string]any{"volume_id": known.ids[id], "volume_name": names[id]}).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// insertSnapshots is insertVolumes for snapshots.
func (s *Store) insertSnapshots(tx *gorm.DB, objects []ObservedObject) error {
	var volumes []models.Volume
	err := tx.Select("id", "backend_id", "name").Where(byEitherID, idsOf(objects, source), idsOf(objects, source)).Find(&volumes).Error
	if err != nil {
		return err
	}
	byID := map[string]*models.Volume{}
	for i, row := range volumes {
		byID[row.ID], byID[row.BackendID] = &volumes[i], &volumes[i]
	}
	rows := make([]models.Snapshot, 0, len(objects))
	for _, m := range objects {
		row := models.Snapshot{
			ID: cmp.Or(m.ID, models.NewID()), BackendID: m.BackendID, ProjectID: m.Project, VolumeID: m.Source,
			Name: m.Name, Description: m.Description, Status: m.Status, StatusSince: models.Micros(s.Now()), Percent: m.Percent,
			Failure: m.Failure, RequestID: m.RequestID, SizeGiB: m.SizeGiB, Consistency: m.Consistency, Origin: models.Elsewhere,
			CreatedAt: models.Micros(m.CreatedAt), Lock: m.Lock, Version: 1,
		}
		if m.TakenAt != nil {
			row.TakenAt = *m.TakenAt
		}
		if m.Hold != nil {
			row.HeldUS = *m.Hold
		}
		if m.Checks != nil {
			row.Checks = *m.Checks
		}
		if m.Export != nil {
			row.Export = *m.Export
		}
		if v := byID[m.Source]; m.Source != "" && v != nil {
			row.VolumeID, row.VolumeName = v.ID, v.Name
		}
		rows = append(rows, row)
	}
	if err := insertMissing(tx, &rows); err != nil {
		return err
	}
	known, err := s.knownRows(tx, models.SubjectSnapshot, objects)
	if err != nil {
		return err
	}
	return insertAttachments(tx, objects, known)
}

func ref(m ObservedObject) string       { return m.ID }
func source(m ObservedObject) string    { return m.Source }
func backendID(m ObservedObject) string { return m.BackendID }

// idsOf returns the ids that are not empty, each once.
func idsOf(rows []ObservedObject, id func(ObservedObject) string) []string {
	seen, ids := map[string]bool{"": true}, []string{}
	for _, m := range rows {
		if one := id(m); !seen[one] {
			seen[one], ids = true, append(ids, one)
		}
	}
	return ids
}

// insertMissing inserts the rows that do not exist yet.
func insertMissing(tx *gorm.DB, rows any) error {
	return tx.Clauses(clause.OnConflict{DoNothing: true}).Create(rows).Error
}
