package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
)

// Dependents finds objects by their ids, the console's or the backend's, in the
// same order. What the console does not know keeps its id, and is taken for the
// likely kind.
func (s Sync) Dependents(ctx context.Context, likely models.SubjectType, ids []string) ([]models.Dependent, error) {
	if len(ids) > models.MaxDependents {
		ids = ids[:models.MaxDependents]
	}
	known := map[string]models.Dependent{}
	for _, kind := range []models.SubjectType{models.SubjectSnapshot, models.SubjectVolume} {
		var rows []struct{ ID, BackendID, Name string }
		err := s.read(ctx).Table(kind.Plural()).Select("id", "backend_id", "name").Where(byEitherID, ids, ids).Scan(&rows).Error
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			d := models.Dependent{Type: kind, ID: row.ID, Name: row.Name}
			known[row.ID], known[row.BackendID] = d, d
		}
	}
	found := make([]models.Dependent, 0, len(ids))
	for _, id := range ids {
		d, ok := known[id]
		if !ok {
			d = models.Dependent{Type: likely, ID: models.Sanitize(id)}
		}
		found = append(found, d)
	}
	return found, nil
}

// Unexplained is an object in error whose row gives no reason.
type Unexplained struct {
	ID, BackendID string
	StatusSince   int64
}

// Unexplained finds, among the objects with these backend's ids, those in error
// whose rows give no reason, and which no operation follows.
func (s Sync) Unexplained(ctx context.Context, kind models.SubjectType, backendIDs []string) ([]Unexplained, error) {
	untold, err := models.Failure{Text: models.NewText(models.FailureUnknown)}.Value()
	if err != nil {
		return nil, err
	}
	var rows []Unexplained
	err = s.read(ctx).Table(kind.Plural()).Select("id", "backend_id", "status_since").
		Where("backend_id IN ? AND failure = ? AND status IN ?", backendIDs, untold, []models.Status{models.ErrorStatus, models.ErrorDeleting}).
		Where("NOT EXISTS (SELECT 1 FROM operations o WHERE o.subject_id = " + string(kind) + "s.id AND o.finished_at = 0)").
		Order("id").Scan(&rows).Error
	return rows, err
}

// Explain writes why an object is in error, unless its row has changed since.
func (s Sync) Explain(ctx context.Context, kind models.SubjectType, object Unexplained, why models.Failure, requestID string) error {
	untold, err := models.Failure{Text: models.NewText(models.FailureUnknown)}.Value()
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		return tx.Table(kind.Plural()).
			Where("id = ? AND status_since = ? AND failure = ?", object.ID, object.StatusSince, untold).
			Updates(map[string]any{"failure": why.Sanitized(), "request_id": models.Sanitize(requestID)}).Error
	})
}
