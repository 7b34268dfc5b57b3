package local

import (
	"slices"

	"blockconsole/models/backend"
)

// index finds objects by ref and lists them in the order of refs. Refs begin with
// their time, so a new one almost always goes to the end.
type index struct {
	byRef map[string]*object
	order []string
}

func newIndex() index { return index{byRef: map[string]*object{}} }

func (x *index) add(o *object) {
	ref := o.meta.Ref
	if i, found := slices.BinarySearch(x.order, ref); !found {
		x.order = slices.Insert(x.order, i, ref)
	}
	x.byRef[ref] = o
}

func (x *index) remove(ref string) {
	if i, found := slices.BinarySearch(x.order, ref); found {
		x.order = slices.Delete(x.order, i, i+1)
	}
	delete(x.byRef, ref)
}

// find looks by ID, then by Ref. Its error is ErrNotFound.
func (x *index) find(k backend.Key) (*object, error) {
	for _, ref := range []string{k.ID, k.Ref} {
		if o := x.byRef[ref]; o != nil {
			return o, nil
		}
	}
	return nil, backend.ErrNotFound
}

// page returns at most limit refs after marker; zero means 1000.
func (x *index) page(marker string, limit int) (refs []string, next string) {
	if limit <= 0 {
		limit = 1000
	}
	i, found := slices.BinarySearch(x.order, marker)
	if found {
		i++
	}
	refs = x.order[i:min(i+limit, len(x.order))]
	if i+len(refs) < len(x.order) && len(refs) > 0 {
		next = refs[len(refs)-1]
	}
	return refs, next
}

func (b *Backend) indexOf(k kind) *index {
	if k == volumes {
		return &b.volumes
	}
	return &b.snapshots
}

// relation is a set of refs for each ref.
type relation map[string]map[string]bool

func (r relation) set(of, ref string, on bool) {
	switch {
	case !on:
		delete(r[of], ref)
		if len(r[of]) == 0 {
			delete(r, of)
		}
	case r[of] == nil:
		r[of] = map[string]bool{ref: true}
	default:
		r[of][ref] = true
	}
}
