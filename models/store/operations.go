package store

import (
	"context"

	"blockconsole/models"
)

// Operation finds an operation. Errors: ErrNotFound, those of the database.
func (s Queue) Operation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error) {
	var op models.Operation
	if err := takeOne(inProject(s.read(ctx), s.scope(actor.Project)).Where("id = ?", searchable(id)), &op); err != nil {
		return nil, err
	}
	return &op, nil
}

// ListOperations returns a page of operations, newest first. Errors: those of the
// database.
func (s Queue) ListOperations(ctx context.Context, actor models.Actor, query models.OperationQuery) ([]models.Operation, error) {
	q := s.read(ctx).Order("num DESC").Limit(query.Limit)
	scope := s.scope(actor.Project)
	switch {
	case query.Subject == "":
		q = inProject(q, scope)
	case scope == everyProject:
		q = q.Where("subject_id = ?", searchable(query.Subject))
	default:
		q = q.Where("subject_id = ? AND "+s.unindexed("project_id")+" = ?", searchable(query.Subject), scope)
	}
	if query.State != "" {
		q = q.Where("state = ?", searchable(string(query.State)))
	}
	if query.Before > 0 {
		q = q.Where("num < ?", query.Before)
	}
	var ops []models.Operation
	return ops, q.Find(&ops).Error
}

// CountRunning returns the number of the project's operations that have not ended.
// Errors: those of the database.
func (s Queue) CountRunning(ctx context.Context, project string) (int64, error) {
	var n int64
	q := inProject(s.read(ctx).Model(&models.Operation{}), s.scope(project))
	err := q.Where("state IN ?", []models.OperationState{models.Pending, models.Running}).Count(&n).Error
	return n, err
}

// ExistingSubjects returns the ids of the operations' volumes and snapshots that still
// exist. Errors: those of the database.
func (s Queue) ExistingSubjects(ctx context.Context, actor models.Actor, ops []models.Operation) (map[string]bool, error) {
	existing := map[string]bool{}
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		var ids []string
		for _, op := range ops {
			if op.SubjectType == kind {
				ids = append(ids, op.SubjectID)
			}
		}
		if len(ids) == 0 {
			continue
		}
		var found []string
		err := inProject(s.read(ctx).Table(kind.Plural()), s.scope(actor.Project)).Where("id IN ?", ids).Pluck("id", &found).Error
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			existing[id] = true
		}
	}
	return existing, nil
}

// FailedOperations returns those of the operations that have failed, of any project.
// Errors: those of the database.
func (s Queue) FailedOperations(ctx context.Context, ids []string) ([]models.Operation, error) {
	var rows []models.Operation
	return rows, s.read(ctx).Where("id IN ? AND "+s.unindexed("state")+" = ?", ids, models.Failed).Order("num").Find(&rows).Error
}
