package handlers

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// resource has the popups that Volumes and Block Snapshots have in common: edit,
// repair, lock, unlock and delete. Its fields are what they differ in.
type resource struct {
	kind   models.SubjectType
	path   string // of the list
	names  nameStore
	load   func(ctx context.Context, actor models.Actor, id string) (*object, error)
	edit   func(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error)
	repair func(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error)
	delete func(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error)
	lock   func(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error)
	unlock func(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error)

	capabilities func() models.Capabilities
}

// object is a Volume or a Block Snapshot as these popups show it.
type object struct {
	views.DeleteItem
	description string
	version     int64
	editedBy    string
	editedAt    int64
	since       int64 // when it got its status
	failure     models.Failure

	denial       func(models.Action) *models.Denial                // nil: the action is allowed
	deleteDenial func(ctx context.Context) (*models.Denial, error) // with the objects that need it
	row          func() templ.Component                            // of the list
}

func (r resource) title(action string) string { return string(r.kind) + "." + action }

// url is where the form of an action posts to.
func (r resource) url(id, action string) string { return r.path + "/" + id + "/" + action }

// answer is answerAccepted with the object's present row.
func (r resource) answer(c echo.Context, op *models.Operation, action string) error {
	update := pageUpdate{list: r.path, message: operationMessage("accepted."+r.title(action), op)}
	if o, err := r.load(c.Request().Context(), Actor(c), op.SubjectID); err == nil {
		update.row, update.rowID = o.row(), string(r.kind)+"-"+o.ID
	}
	return answerAccepted(c, op, update)
}

// answerGone answers the wish to delete what somebody else has deleted meanwhile: it
// is done.
func (r resource) answerGone(c echo.Context, names ...string) error {
	message := views.NewMessage("accepted."+r.title("gone"), strings.Join(names, ", "))
	return answerChanged(c, r.path, views.Alert{Message: message})
}

// EditForm is the popup «수정».
func (r resource) EditForm(c echo.Context) error {
	id, ok := targetID(c)
	if !ok {
		return renderChooser(c, r.title("edit"), r.path, "list.need_one")
	}
	o, err := r.load(c.Request().Context(), Actor(c), id)
	if err != nil {
		return err
	}
	m := views.Edit{Form: newForm(c, r.url(o.ID, "edit")), Kind: string(r.kind), ID: o.ID, Name: o.Name, Description: o.description}
	m.Version, m.Denial = o.version, Denial(o.denial(models.ActEdit))
	return Render(c, http.StatusOK, T(c, r.title("edit")), views.EditPopup(m))
}

// Edit changes name and description. When somebody else has changed them meanwhile,
// the form comes back with their values.
func (r resource) Edit(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	m := views.Edit{Form: submittedForm(c, r.url(id, "edit")), Kind: string(r.kind), ID: id, Name: c.FormValue("name"), Description: c.FormValue("description")}
	m.Version = formVersion(c)
	op, err := r.edit(ctx, actor, models.EditInput{ID: id, Name: m.Name, Description: m.Description, Version: m.Version, FormKey: m.Key})
	if err != nil {
		return rerenderForm(c, &m.Form, err, r.title("edit"), func() (_ templ.Component, failed error) {
			if m.NameTaken, failed = nameTaken(c, r.names, r.kind, m.Name, id); failed != nil || !isStale(err) {
				return views.EditPopup(m), failed
			}
			o, err := r.load(ctx, actor, id)
			if err != nil {
				return nil, err
			}
			m.Version, m.Conflict = o.version, &views.EditConflict{Name: o.Name, Description: o.description, By: o.editedBy, At: o.editedAt}
			return views.EditPopup(m), nil
		})
	}
	return r.answer(c, op, "edit")
}

// RepairForm is the administrator's popup «복구».
func (r resource) RepairForm(c echo.Context) error {
	o, err := r.load(c.Request().Context(), Actor(c), c.Param("id"))
	if err != nil {
		return err
	}
	m := r.repairView(newForm(c, r.url(o.ID, "repair")), o)
	m.Denial = Denial(o.denial(models.ActRepair))
	return Render(c, http.StatusOK, T(c, r.title("repair")), views.RepairPopup(m))
}

func (r resource) repairView(form views.Form, o *object) views.Repair {
	return views.Repair{Form: form, Kind: string(r.kind), ID: o.ID, Name: o.Name, Status: o.Status,
		Since: o.since, Failure: Msg(o.failure.Text), ResetTo: "error"}
}

// resetStatuses are the statuses that the repair form offers.
var resetStatuses = map[string]models.Status{"": models.ErrorStatus, "error": models.ErrorStatus, "available": models.Available}

// Repair gives a stuck object a status in which it can be used again.
func (r resource) Repair(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	in := models.RepairInput{ID: c.Param("id"), Reason: c.FormValue("reason"), ResetTo: resetStatuses[c.FormValue("reset_to")], FormKey: c.FormValue("form_key")}
	op, err := r.repair(ctx, actor, in)
	if err != nil {
		o, loadErr := r.load(ctx, actor, in.ID)
		if loadErr != nil {
			return loadErr
		}
		m := r.repairView(submittedForm(c, r.url(o.ID, "repair")), o)
		m.Reason, m.ResetTo = in.Reason, c.FormValue("reset_to")
		return rerenderForm(c, &m.Form, err, r.title("repair"), func() (templ.Component, error) { return views.RepairPopup(m), nil })
	}
	return r.answer(c, op, "repair")
}

// LockForm is the popup «잠금» of the object in the path, or of the selected ones.
func (r resource) LockForm(c echo.Context) error {
	ids, problem := pickedIDs(c)
	if problem != "" {
		return renderChooser(c, r.title("lock"), r.path, problem)
	}
	m := r.lockView(c, newForm(c, r.path+"/lock"))
	allowed, err := r.fillLock(c, &m, ids, models.ActLock)
	if err != nil {
		return err
	}
	if len(ids) == 1 {
		m.Action = r.url(ids[0], "lock")
	}
	if len(ids) == 1 && len(allowed) == 1 {
		m.Version, m.Reason = allowed[0].version, allowed[0].Locked.Reason
		if until := allowed[0].Locked.Until; until > 0 {
			m.Until = time.UnixMicro(until - 1).In(zoneOf(c)).Format(time.DateOnly)
		}
	}
	return Render(c, http.StatusOK, T(c, r.title("lock")), views.LockPopup(m))
}

func (r resource) lockView(c echo.Context, form views.Form) views.Lock {
	caps := r.capabilities()
	return views.Lock{Form: form, Kind: string(r.kind), Until: trimmedValue(c, "until"), Reason: c.FormValue("reason"),
		Today: localNow(c).Format(time.DateOnly), OursAlone: caps.Shared && !caps.Locks}
}

// fillLock fills in the objects, and returns those that allow the action.
func (r resource) fillLock(c echo.Context, m *views.Lock, ids []string, action models.Action) (allowed []*object, err error) {
	allowed, m.Blocked, m.Denial, err = r.divide(c, ids, func(o *object) (*models.Denial, error) { return o.denial(action), nil })
	m.Items = nil
	for _, o := range allowed {
		m.Items = append(m.Items, o.DeleteItem)
	}
	return allowed, err
}

// lockInput is the submitted form of a lock, for one object.
func lockInput(c echo.Context, id, key string) models.LockInput {
	return models.LockInput{ID: id, Until: trimmedValue(c, "until"), Reason: c.FormValue("reason"), Version: formVersion(c), FormKey: key, Zone: zoneOf(c)}
}

// Lock locks the object in the path.
func (r resource) Lock(c echo.Context) error {
	id := c.Param("id")
	m := r.lockView(c, submittedForm(c, r.url(id, "lock")))
	op, err := r.lock(c.Request().Context(), Actor(c), lockInput(c, id, m.Key))
	if err != nil {
		return r.rerenderLock(c, &m, err, []string{id}, "lock", models.ActLock)
	}
	return r.answer(c, op, "lock")
}

// UnlockForm is the administrator's popup «잠금 해제».
func (r resource) UnlockForm(c echo.Context) error {
	id := c.Param("id")
	m := r.lockView(c, newForm(c, r.url(id, "unlock")))
	allowed, err := r.fillLock(c, &m, []string{id}, models.ActUnlock)
	if err != nil {
		return err
	}
	if len(allowed) == 1 {
		m.Version = allowed[0].version
	}
	return Render(c, http.StatusOK, T(c, r.title("unlock")), views.UnlockPopup(m))
}

// Unlock ends the lock of the object in the path.
func (r resource) Unlock(c echo.Context) error {
	id := c.Param("id")
	m := r.lockView(c, submittedForm(c, r.url(id, "unlock")))
	op, err := r.unlock(c.Request().Context(), Actor(c), lockInput(c, id, m.Key))
	if err != nil {
		return r.rerenderLock(c, &m, err, []string{id}, "unlock", models.ActUnlock)
	}
	return r.answer(c, op, "unlock")
}

// LockMany locks those of the selected objects that can be locked, and names the others.
func (r resource) LockMany(c echo.Context) error {
	ids, err := r.bulkIDs(c)
	if err != nil {
		return err
	}
	m := r.lockView(c, submittedForm(c, r.path+"/lock"))
	if err := lockInput(c, "", "").Validate(RequestOf(c).Site.Now()); err != nil {
		return r.rerenderLock(c, &m, err, ids, "lock", models.ActLock)
	}
	return r.many(c, "lock", ids, func(id string) (*models.Operation, error) {
		in := lockInput(c, id, keyOf(m.Form, id))
		in.Version = 0
		return r.lock(c.Request().Context(), Actor(c), in)
	}, func(blocked []views.BlockedItem) templ.Component {
		m.Blocked = blocked
		return views.LockPopup(m)
	})
}

// rerenderLock renders the form again with what is wrong with it. When somebody else has
// changed the object meanwhile, it shows the present lock.
func (r resource) rerenderLock(c echo.Context, m *views.Lock, err error, ids []string, title string, action models.Action) error {
	m.Version = formVersion(c)
	if e := models.AsError(err); e != nil && e.Code == models.CodeForbidden && len(e.Fields) > 0 && Wants(c) != JSON {
		err = &models.Error{Code: models.CodeInvalid, Text: e.Text, Fields: e.Fields} // another day may be allowed
	}
	return rerenderForm(c, &m.Form, err, r.title(title), func() (templ.Component, error) {
		denial := m.Denial
		allowed, failed := r.fillLock(c, m, ids, action)
		if denial != nil {
			m.Denial = denial
		}
		if m.Changed = isStale(err); m.Changed && len(allowed) == 1 {
			m.Version = allowed[0].version
		}
		if title == "unlock" {
			return views.UnlockPopup(*m), failed
		}
		return views.LockPopup(*m), failed
	})
}
