package handlers

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// DeleteForm is the popup «삭제» of the object in the path, or of the selected ones.
func (r resource) DeleteForm(c echo.Context) error {
	ids, problem := pickedIDs(c)
	if problem != "" {
		return renderChooser(c, r.title("delete"), r.path, problem)
	}
	m := views.Delete{Form: newForm(c, r.path+"/delete"), Kind: string(r.kind)}
	if len(ids) == 1 {
		m.Action = r.url(ids[0], "delete")
	}
	var allowed []*object
	var err error
	allowed, m.Blocked, m.Denial, err = r.divide(c, ids, func(o *object) (*models.Denial, error) { return o.deleteDenial(c.Request().Context()) })
	if err != nil {
		return err
	}
	for _, o := range allowed {
		m.Items = append(m.Items, o.DeleteItem)
	}
	return Render(c, http.StatusOK, T(c, r.title("delete")), views.DeletePopup(m))
}

// pickedIDs are the ids in the path or the selection, and what is wrong with their
// number.
func pickedIDs(c echo.Context) (ids []string, problem string) {
	if id := c.Param("id"); id != "" {
		return []string{id}, ""
	}
	ids = uniqueIDs(c.QueryParams()["id"])
	return ids, bulkProblem(ids)
}

func bulkProblem(ids []string) string {
	switch {
	case len(ids) == 0:
		return "list.need_many"
	case len(ids) > maxBulk:
		return "list.too_many"
	}
	return ""
}

// divide loads the objects, and divides them into those that allow an action and those
// that do not. A single one that does not is the popup's denial.
func (r resource) divide(c echo.Context, ids []string, ask func(*object) (*models.Denial, error)) (allowed []*object, blocked []views.BlockedItem, single *views.Denial, err error) {
	for _, id := range ids {
		o, err := r.load(c.Request().Context(), Actor(c), id)
		denial := models.NewDenial("error.404")
		switch {
		case err == nil:
			denial, err = ask(o)
		case len(ids) > 1 && errors.Is(err, models.ErrNotFound):
			o, err = &object{DeleteItem: views.DeleteItem{ID: id}}, nil
		}
		switch {
		case err != nil:
			return nil, nil, nil, err
		case denial == nil:
			allowed = append(allowed, o)
		case len(ids) == 1:
			single = Denial(denial)
		default:
			blocked = append(blocked, views.BlockedItem{DeleteItem: o.DeleteItem, Denial: *Denial(denial)})
		}
	}
	return allowed, blocked, single, nil
}

// Delete deletes the object in the path.
func (r resource) Delete(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	op, err := r.delete(ctx, actor, id, c.FormValue("form_key"))
	var gone *models.GoneError
	if errors.As(err, &gone) && Wants(c) != JSON {
		return r.answerGone(c, gone.Name)
	}
	if err != nil {
		m := views.Delete{Form: submittedForm(c, r.url(id, "delete")), Kind: string(r.kind)}
		return rerenderForm(c, &m.Form, err, r.title("delete"), func() (templ.Component, error) {
			if m.Denial == nil {
				m.Denial = &views.Denial{Reason: m.Error}
			}
			return views.DeletePopup(m), nil
		})
	}
	return r.answer(c, op, "delete")
}

// DeleteMany deletes those of the selected objects that can be deleted, and names the
// others.
func (r resource) DeleteMany(c echo.Context) error {
	ids, err := r.bulkIDs(c)
	if err != nil {
		return err
	}
	m := views.Delete{Form: submittedForm(c, r.path+"/delete"), Kind: string(r.kind)}
	return r.many(c, "delete", ids, func(id string) (*models.Operation, error) {
		return r.delete(c.Request().Context(), Actor(c), id, keyOf(m.Form, id))
	}, func(blocked []views.BlockedItem) templ.Component {
		m.Blocked = blocked
		return views.DeletePopup(m)
	})
}

// bulkIDs are the ids of a submitted bulk form. Errors: CodeInvalid with the field id.
func (r resource) bulkIDs(c echo.Context) ([]string, error) {
	ids, err := formIDs(c)
	if err != nil {
		return nil, err
	}
	if problem := bulkProblem(ids); problem != "" {
		return nil, models.Invalid("id", models.NewText(problem))
	}
	return ids, nil
}

// keyOf is the form key of one of the objects of a form.
func keyOf(form views.Form, id string) string {
	if form.Key == "" {
		return ""
	}
	return form.Key + ":" + id
}

// many asks for an action on each object, one transaction each, and answers what was
// accepted, and what was refused and why. none is the popup when nothing was accepted.
func (r resource) many(c echo.Context, action string, ids []string, ask func(id string) (*models.Operation, error), none func([]views.BlockedItem) templ.Component) error {
	update := pageUpdate{list: r.path, operations: []acceptedJSON{}, refused: []refusedJSON{}}
	var last *models.Operation
	var blocked []views.BlockedItem
	var goneNames []string
	for _, id := range ids {
		op, err := ask(id)
		if err == nil {
			last = op
			update.operations = append(update.operations, toAcceptedJSON(op))
			continue
		}
		e := models.AsError(err)
		if e == nil {
			return err
		}
		var gone *models.GoneError
		if errors.As(err, &gone) && action == "delete" && Wants(c) != JSON {
			goneNames = append(goneNames, gone.Name)
			continue
		}
		item, reason, err := r.blocked(c, id, e)
		if err != nil {
			return err
		}
		blocked = append(blocked, item)
		update.refused = append(update.refused, refusedJSON{ID: id, Reason: reason})
	}
	switch {
	case last == nil && len(blocked) == 0:
		return r.answerGone(c, goneNames...)
	case last == nil && Wants(c) == JSON:
		return &models.Error{Code: models.CodeConflict, Text: models.NewText(noneKeys[action])}
	case last == nil:
		return Render(c, http.StatusConflict, T(c, r.title(action)), none(blocked))
	case len(blocked) > 0:
		update.detail = views.NewMessage("accepted.refused", groupedReasons(update.refused))
	case len(goneNames) > 0:
		update.detail = views.NewMessage("accepted."+r.title("gone"), strings.Join(goneNames, ", "))
	}
	asked := strconv.Itoa(len(update.operations))
	update.message = views.NewMessage("accepted."+r.title(action+"_many"), asked)
	if len(blocked) > 0 {
		update.message = views.NewMessage("accepted."+action+"_partly", asked, strconv.Itoa(len(blocked)))
	}
	return answerAccepted(c, last, update)
}

// noneKeys are the texts when an action was refused for every object.
var noneKeys = map[string]string{"delete": "delete.none", "lock": "lock.none"}

// maxReasons is how many different reasons a message names.
const maxReasons = 3

// groupedReasons are the different reasons in the order in which they came, each with the
// number of its objects.
func groupedReasons(refused []refusedJSON) string {
	var order, parts []string
	count := map[string]int{}
	for _, one := range refused {
		if count[one.Reason]++; count[one.Reason] == 1 {
			order = append(order, one.Reason)
		}
	}
	for _, reason := range order[:min(len(order), maxReasons)] {
		parts = append(parts, reason+" ("+strconv.Itoa(count[reason])+")")
	}
	if len(order) > maxReasons {
		parts = append(parts, "…")
	}
	return strings.Join(parts, " ")
}

// blocked is an object that an action left out, and the reason in words.
func (r resource) blocked(c echo.Context, id string, e *models.Error) (views.BlockedItem, string, error) {
	item := views.DeleteItem{ID: id}
	switch o, err := r.load(c.Request().Context(), Actor(c), id); {
	case err == nil:
		item = o.DeleteItem
	case !errors.Is(err, models.ErrNotFound):
		return views.BlockedItem{}, "", err
	}
	denial := e.Denial
	if denial == nil {
		denial = &models.Denial{Text: e.Text}
		for _, text := range e.Fields {
			denial.Text = text
		}
	}
	return views.BlockedItem{DeleteItem: item, Denial: *Denial(denial)}, TextOf(c, denial.Text), nil
}
