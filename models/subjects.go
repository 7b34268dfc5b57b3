package models

import "context"

// SubjectsThatExist says of which operations the volume or snapshot still exists,
// by its id.
func (s *Store) SubjectsThatExist(ctx context.Context, actor Actor, ops []Operation) (map[string]bool, error) {
	there := map[string]bool{}
	for _, kind := range []SubjectType{SubjectVolume, SubjectSnapshot} {
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
		err := inProject(s.read(ctx).Table(string(kind)+"s"), s.scope(actor.Project)).Where("id IN ?", ids).Pluck("id", &found).Error
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			there[id] = true
		}
	}
	return there, nil
}
