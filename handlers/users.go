package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

const usersPath = "/admin/users"

// UserStore is what Users needs.
type UserStore interface {
	ListUsers(ctx context.Context, actor models.Actor) ([]models.User, error)
	User(ctx context.Context, actor models.Actor, id string) (*models.User, error)
	AddUser(ctx context.Context, actor models.Actor, name string, role models.Role, password string) (*models.User, error)
	SetRole(ctx context.Context, actor models.Actor, id string, role models.Role) error
	SetDisabled(ctx context.Context, actor models.Actor, id string, disabled bool) error
	ResetPassword(ctx context.Context, actor models.Actor, id string) (password string, err error)
	DeleteUser(ctx context.Context, actor models.Actor, id string) error
}

// Users has the administrator's pages of users.
type Users struct{ Store UserStore }

// List is the list of users with the form to add one.
func (u Users) List(c echo.Context) error {
	return u.renderList(c, http.StatusOK, views.Users{Role: string(models.Viewer)})
}

func (u Users) renderList(c echo.Context, status int, page views.Users) error {
	users, err := u.Store.ListUsers(c.Request().Context(), Actor(c))
	if err != nil {
		return err
	}
	page.Action = usersPath
	for i := range users {
		page.Rows = append(page.Rows, userRow(c, &users[i]))
	}
	return Render(c, status, T(c, "nav.users"), views.UsersPage(page))
}

func userRow(c echo.Context, u *models.User) views.UserRow {
	return views.UserRow{ID: u.ID, Name: u.Name, Role: string(u.Role), Disabled: u.Disabled, CreatedAt: u.CreatedAt, SeenAt: u.SeenAt,
		Self: u.ID == Actor(c).UserID}
}

// Add adds a user.
func (u Users) Add(c echo.Context) error {
	name, role := trimmedValue(c, "name"), models.Role(trimmedValue(c, "role"))
	user, err := u.Store.AddUser(c.Request().Context(), Actor(c), name, role, c.FormValue("password"))
	if err != nil {
		page := views.Users{Name: truncateInput(name), Role: string(role)}
		status, ok := FormError(&page.Form, err)
		if !ok || Wants(c) == JSON {
			return err
		}
		return u.renderList(c, status, page)
	}
	if Wants(c) == JSON {
		c.Response().Header().Set(echo.HeaderLocation, userPath(user.ID))
		return c.JSON(http.StatusCreated, map[string]string{"id": user.ID, "url": userPath(user.ID)})
	}
	return answerSaved(c, usersPath, "accepted.user.add", name)
}

// Show is the page of one user.
func (u Users) Show(c echo.Context) error { return u.renderOne(c, http.StatusOK, views.UserDetail{}) }

func (u Users) renderOne(c echo.Context, status int, page views.UserDetail) error {
	user, err := u.Store.User(c.Request().Context(), Actor(c), c.Param("id"))
	if err != nil {
		return err
	}
	page.Row = userRow(c, user)
	page.Action = userPath(user.ID)
	return Render(c, status, user.Name, views.UserPage(page))
}

func userPath(id string) string { return usersPath + "/" + id }

// Change sets the role or disables the user, whichever was submitted.
func (u Users) Change(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	var err error
	switch disabled := c.FormValue("disabled"); {
	case disabled == "0" || disabled == "1":
		err = u.Store.SetDisabled(ctx, actor, id, disabled == "1")
	case disabled != "":
		err = models.Invalid("disabled", models.NewText("form.invalid"))
	default:
		err = u.Store.SetRole(ctx, actor, id, models.Role(trimmedValue(c, "role")))
	}
	if err != nil {
		return u.renderRefused(c, err)
	}
	user, err := u.Store.User(ctx, actor, id)
	if err != nil {
		return err
	}
	return answerSaved(c, ReturnTo(c, usersPath), "accepted.user.change", user.Name)
}

func (u Users) renderRefused(c echo.Context, err error) error {
	var page views.UserDetail
	status, ok := FormError(&page.Form, err)
	if !ok || Wants(c) == JSON {
		return err
	}
	return u.renderOne(c, status, page)
}

// ResetPassword gives the user a new password. The answer is the only page that
// shows it.
func (u Users) ResetPassword(c echo.Context) error {
	password, err := u.Store.ResetPassword(c.Request().Context(), Actor(c), c.Param("id"))
	if err != nil {
		return u.renderRefused(c, err)
	}
	if Wants(c) == JSON {
		return c.JSON(http.StatusOK, map[string]string{"password": password})
	}
	return u.renderOne(c, http.StatusOK, views.UserDetail{NewPassword: password})
}

// Delete removes the user.
func (u Users) Delete(c echo.Context) error {
	err := u.Store.DeleteUser(c.Request().Context(), Actor(c), c.Param("id"))
	var gone *models.GoneError
	if errors.As(err, &gone) && Wants(c) != JSON {
		return answerSaved(c, usersPath, "accepted.user.gone", gone.Name)
	}
	if err != nil {
		return u.renderRefused(c, err)
	}
	return answerSaved(c, usersPath, "accepted.user.delete")
}
