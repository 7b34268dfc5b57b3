package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// Mirrored is a volume or snapshot as one page of the backend's listing has it.
// ID is the console's id, empty for objects made elsewhere.
type Mirrored struct {
	ID, BackendID string
	Project       string
	Name          string
	Description   string
	SizeGiB       int
	Source        string // of a volume: the snapshot it was made from; of a snapshot: its volume; by any id
	ImageID       string
	Type, Zone    string
	CreatedAt     time.Time
	Observed
}

// key is what rows are found by: the console's id, else the backend's.
func (m Mirrored) keys() []string {
	if m.ID == "" {
		return []string{m.BackendID}
	}
	return []string{m.ID, m.BackendID}
}

// MirrorVolumes makes the rows say what a page of the backend's listing says, and
// returns the console's ids of the page. asked is when the backend was asked:
// rows that an operation is changing, or changed since, are left to it.
func (s *Store) MirrorVolumes(ctx context.Context, page []Mirrored, asked time.Time) ([]string, error) {
	return s.mirrorPage(ctx, page, asked, "volumes", func(tx *gorm.DB, id string, m Mirrored) error {
		return s.observeVolume(tx, id, m.observed())
	}, s.insertMirroredVolume)
}

// MirrorSnapshots is MirrorVolumes for snapshots.
func (s *Store) MirrorSnapshots(ctx context.Context, page []Mirrored, asked time.Time) ([]string, error) {
	return s.mirrorPage(ctx, page, asked, "snapshots", func(tx *gorm.DB, id string, m Mirrored) error {
		return s.observeSnapshot(tx, id, m.observed())
	}, s.insertMirroredSnapshot)
}

func (m Mirrored) observed() Observed {
	o := m.Observed
	o.BackendID, o.SizeGiB, o.Name, o.Description = m.BackendID, m.SizeGiB, &m.Name, &m.Description
	return o
}

func (s *Store) mirrorPage(ctx context.Context, page []Mirrored, asked time.Time, table string,
	update func(*gorm.DB, string, Mirrored) error, insert func(*gorm.DB, Mirrored) (string, error)) ([]string, error) {
	var seen []string
	err := s.write(ctx, func(tx *gorm.DB) error {
		seen = seen[:0]
		known, err := rowIDs(tx, table, page)
		if err != nil {
			return err
		}
		busy, err := busySubjects(tx, page, known, asked)
		if err != nil {
			return err
		}
		for _, m := range page {
			id := known.of(m)
			switch {
			case id != "" && busy[id], id == "" && busy[m.ID]:
				seen = append(seen, firstNonEmpty(id, m.ID))
			case id != "":
				seen = append(seen, id)
				err = update(tx, id, m)
			default:
				id, err = insert(tx, m)
				seen = append(seen, id)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return seen, err
}

type knownIDs map[string]string

func (k knownIDs) of(m Mirrored) string {
	for _, key := range m.keys() {
		if id := k[key]; id != "" {
			return id
		}
	}
	return ""
}

func rowIDs(tx *gorm.DB, table string, page []Mirrored) (knownIDs, error) {
	var keys []string
	for _, m := range page {
		keys = append(keys, m.keys()...)
	}
	var rows []struct{ ID, BackendID string }
	err := tx.Table(table).Select("id", "backend_id").Where("id IN ? OR backend_id IN ?", keys, keys).Find(&rows).Error
	known := knownIDs{}
	for _, r := range rows {
		known[r.ID] = r.ID
		if r.BackendID != "" {
			known[r.BackendID] = r.ID
		}
	}
	return known, err
}

func busySubjects(tx *gorm.DB, page []Mirrored, known knownIDs, asked time.Time) (map[string]bool, error) {
	var ids []string
	for _, m := range page {
		ids = append(ids, firstNonEmpty(known.of(m), m.ID))
	}
	var busy []string
	err := tx.Model(&Operation{}).Where("subject_id IN ? AND (finished_at = 0 OR finished_at >= ?)", ids, Micros(asked)).
		Distinct().Pluck("subject_id", &busy).Error
	set := map[string]bool{}
	for _, id := range busy {
		set[id] = true
	}
	return set, err
}

func (s *Store) insertMirroredVolume(tx *gorm.DB, m Mirrored) (string, error) {
	row := Volume{
		ID: firstNonEmpty(m.ID, NewID()), BackendID: m.BackendID, ProjectID: m.Project, Name: m.Name, Description: m.Description,
		Status: m.Status, StatusSince: Micros(s.Now()), Percent: m.Percent, Failure: m.Failure, RequestID: m.RequestID,
		SizeGiB: m.SizeGiB, ImageID: m.ImageID, VolumeType: m.Type, Zone: m.Zone, Origin: Elsewhere,
		CreatedAt: Micros(m.CreatedAt), Version: 1,
	}
	if m.Source != "" {
		var source Snapshot
		err := first(tx.Where("id = ? OR backend_id = ?", m.Source, m.Source), &source)
		if ignoreNotFound(err) != nil {
			return "", err
		}
		row.SnapshotID, row.Consistency = source.ID, source.Consistency
	}
	if err := tx.Create(&row).Error; err != nil {
		return "", err
	}
	if m.Attachments != nil {
		return row.ID, replaceAttachments(tx, row.ID, *m.Attachments)
	}
	return row.ID, nil
}

func (s *Store) insertMirroredSnapshot(tx *gorm.DB, m Mirrored) (string, error) {
	row := Snapshot{
		ID: firstNonEmpty(m.ID, NewID()), BackendID: m.BackendID, ProjectID: m.Project, VolumeID: m.Source,
		Name: m.Name, Description: m.Description, Status: m.Status, StatusSince: Micros(s.Now()), Percent: m.Percent,
		Failure: m.Failure, RequestID: m.RequestID, SizeGiB: m.SizeGiB, Consistency: m.Consistency, Origin: Elsewhere,
		CreatedAt: Micros(m.CreatedAt), Version: 1,
	}
	var v Volume
	err := first(tx.Where("id = ? OR backend_id = ?", m.Source, m.Source), &v)
	if ignoreNotFound(err) != nil {
		return "", err
	}
	if err == nil {
		row.VolumeID, row.VolumeName = v.ID, v.Name
	}
	return row.ID, tx.Create(&row).Error
}

// MirrorMissing deals with the rows that a whole listing, begun at asked, did not
// have. In a shared backend they were deleted elsewhere and leave the list;
// otherwise their data is missing, which is said. It returns how many there were.
func (s *Store) MirrorMissing(ctx context.Context, kind SubjectType, seen map[string]struct{}, asked time.Time) (int, error) {
	missing, err := s.missing(ctx, kind, seen, asked)
	if err != nil || len(missing) == 0 {
		return 0, err
	}
	o := Observed{Status: ErrorStatus, Percent: -1, Failure: Failure{Say("failure.vanished")}}
	if s.Facts().Shared {
		o = Observed{Gone: true}
	}
	return len(missing), s.write(ctx, func(tx *gorm.DB) error {
		for _, id := range missing {
			observe := s.observeVolume
			if kind == SubjectSnapshot {
				observe = s.observeSnapshot
			}
			if err := observe(tx, id, o); err != nil {
				return err
			}
		}
		return nil
	})
}

// missing walks all rows in order of id, in pages, and returns those that no
// operation can account for.
func (s *Store) missing(ctx context.Context, kind SubjectType, seen map[string]struct{}, asked time.Time) ([]string, error) {
	const page = 5000
	var missing []string
	for last := ""; ; {
		var ids []string
		err := s.read(ctx).Table(string(kind)+"s").Where("id > ?", last).Order("id").Limit(page).Pluck("id", &ids).Error
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if _, there := seen[id]; there {
				continue
			}
			var busy int64
			err := s.read(ctx).Model(&Operation{}).Where("subject_id = ? AND (finished_at = 0 OR finished_at >= ?)", id, Micros(asked)).
				Limit(1).Count(&busy).Error
			if err != nil {
				return nil, err
			}
			if busy == 0 {
				missing = append(missing, id)
			}
		}
		if len(ids) < page {
			return missing, nil
		}
		last = ids[len(ids)-1]
	}
}
