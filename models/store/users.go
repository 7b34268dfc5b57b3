package store

import (
	"context"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"blockconsole/models"
)

// ListUsers returns the users of the actor's project, sorted by name. Errors: those of
// the database.
func (s Users) ListUsers(ctx context.Context, actor models.Actor) ([]models.User, error) {
	var users []models.User
	return users, s.read(ctx).Where("project_id = ?", actor.Project).Order("name").Find(&users).Error
}

// User finds a user of the actor's project. Errors: ErrNotFound, those of the database.
func (s Users) User(ctx context.Context, actor models.Actor, id string) (*models.User, error) {
	if uuid.Validate(id) != nil {
		return nil, models.ErrNotFound
	}
	var u models.User
	if err := takeOne(s.read(ctx).Where("id = ? AND project_id = ?", id, actor.Project), &u); err != nil {
		return nil, s.deletionAudited(s.read(ctx), actor.Project, models.AuditSubjectUser, id, err)
	}
	return &u, nil
}

// EnsureFirstUser adds the administrator models.FirstUser when there are no users.
// created is false when there are some, and the password was not used. Errors:
// CodeInvalid with the field password, those of the database.
func (s Users) EnsureFirstUser(ctx context.Context, password string) (created bool, err error) {
	var users int64
	if err := s.read(ctx).Model(&models.User{}).Count(&users).Error; err != nil || users > 0 {
		return false, err
	}
	if text := models.ValidatePassword(password, models.FirstUser); text != nil {
		return false, models.Invalid("password", *text)
	}
	hash, err := models.HashPassword(ctx, password)
	if err != nil {
		return false, err
	}
	actor := models.Actor{Name: models.FirstUser, Project: models.DefaultProject}
	err = s.insertUser(ctx, actor, &models.User{ID: models.NewID(), Name: models.FirstUser, PasswordHash: hash, Role: models.Administrator, ProjectID: models.DefaultProject})
	if e := models.AsError(err); e != nil && e.Code == models.CodeInvalid {
		return false, nil // another console on the database added it at the same time
	}
	return err == nil, err
}

// AddUser adds a user to the actor's project. Errors: CodeInvalid with the fields name,
// password and role, those of the database.
func (s Users) AddUser(ctx context.Context, actor models.Actor, name string, role models.Role, password string) (*models.User, error) {
	fields := models.FieldErrors{}
	names, err := userNames(s.read(ctx))
	if err != nil {
		return nil, err
	}
	fields.Add("name", models.CheckNewUserName(name, names))
	fields.Add("password", models.ValidatePassword(password, name))
	fields.Add("role", models.ValidateRole(role))
	if err := fields.Err(); err != nil {
		return nil, err
	}
	hash, err := models.HashPassword(ctx, password)
	if err != nil {
		return nil, err
	}
	u := &models.User{ID: models.NewID(), Name: name, PasswordHash: hash, Role: role, ProjectID: actor.Project}
	return u, s.insertUser(ctx, actor, u)
}

// userNames returns the names of all users. There are few enough to compare each.
func userNames(q *gorm.DB) ([]string, error) {
	var names []string
	err := q.Model(&models.User{}).Pluck("name", &names).Error
	slices.Sort(names)
	return names, err
}

// DoubtfulNames returns the names of users that older versions accepted and that can be
// taken for somebody else's. Errors: those of the database.
func (s Users) DoubtfulNames(ctx context.Context) ([]string, error) {
	names, err := userNames(s.read(ctx))
	return models.DoubtfulUserNames(names), err
}

func (s *Store) insertUser(ctx context.Context, actor models.Actor, u *models.User) error {
	u.CreatedAt = models.Micros(s.Now())
	return s.write(ctx, func(tx *gorm.DB) error {
		if s.postgres { // no other console may add a name that looks alike meanwhile
			if err := tx.Exec("SELECT pg_advisory_xact_lock(?)", lockUsers).Error; err != nil {
				return err
			}
		}
		names, err := userNames(tx)
		if err != nil {
			return err
		}
		if text := models.CheckNewUserName(u.Name, names); text != nil {
			return models.Invalid("name", *text)
		}
		// The column disabled is a number on both databases, for which PostgreSQL accepts no bool; its default is 0.
		if err := tx.Omit("Disabled").Create(u).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, u.AuditEntry("user.create", string(u.Role)))
	})
}

// SetRole changes a user's role, from its next request on. Errors: ErrNotFound,
// CodeInvalid, ErrLastAdministrator, those of the database.
func (s Users) SetRole(ctx context.Context, actor models.Actor, id string, role models.Role) error {
	if text := models.ValidateRole(role); text != nil {
		return models.Invalid("role", *text)
	}
	return s.changeUser(ctx, actor, id, "user.edit", role != models.Administrator, func(tx *gorm.DB, u *models.User) error {
		if err := tx.Model(u).Update("role", role).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, u.AuditEntry("user.edit", string(role)))
	})
}

// SetDisabled disables a user, which ends its sessions, or enables it again. Errors:
// ErrNotFound, ErrLastAdministrator, those of the database.
func (s Users) SetDisabled(ctx context.Context, actor models.Actor, id string, disabled bool) error {
	value, action := 0, "user.enable"
	if disabled {
		value, action = 1, "user.disable"
	}
	return s.changeUser(ctx, actor, id, action, disabled, func(tx *gorm.DB, u *models.User) error {
		if disabled {
			if err := endSessions(tx, u.ID, ""); err != nil {
				return err
			}
		}
		if err := tx.Model(u).Update("disabled", value).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, u.AuditEntry(action, ""))
	})
}

// DeleteUser deletes a user and its sessions, but not its audit entries. Errors:
// ErrNotFound, ErrLastAdministrator, those of the database.
func (s Users) DeleteUser(ctx context.Context, actor models.Actor, id string) error {
	return s.changeUser(ctx, actor, id, "user.delete", true, func(tx *gorm.DB, u *models.User) error {
		if err := tx.Delete(u).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, u.AuditEntry("user.delete", ""))
	})
}

// ResetPassword sets a generated password for a user of the actor's project, ends its
// sessions and clears its failed sign-ins. It returns the password, which is stored only
// as a hash. Errors: ErrNotFound, those of the database.
func (s Users) ResetPassword(ctx context.Context, actor models.Actor, id string) (password string, err error) {
	password = models.GeneratePassword()
	hash, err := models.HashPassword(ctx, password)
	if err != nil {
		return "", err
	}
	err = s.changeUser(ctx, actor, id, "password.reset", false, func(tx *gorm.DB, u *models.User) error {
		return s.replacePassword(tx, actor, u, hash, "", "password.reset")
	})
	return password, err
}

// ChangePassword sets the actor's own password after verifying the current one, and ends
// its sessions except keepSession. Errors: CodeInvalid with the fields current and
// password, *models.ThrottledError, those of the database.
func (s Users) ChangePassword(ctx context.Context, actor models.Actor, current, password, keepSession string) error {
	u, err := s.User(ctx, actor, actor.UserID)
	if err != nil {
		return err
	}
	if text := models.ValidatePassword(password, u.Name); text != nil {
		return models.Invalid("password", *text)
	}
	own := []attemptCounter{{who: "self:" + u.ID, limit: AccountAttempts}}
	if err := s.checkPassword(ctx, own, current, u.PasswordHash); err != nil {
		err = s.audited(ctx, actor, u.AuditEntry("password.change", ""), err)
		if e := models.AsError(err); e != nil && e.Code == models.CodeUnauthorized {
			return models.Invalid("current", models.NewText("password.wrong"))
		}
		return err
	}
	if password == current {
		return models.Invalid("password", models.NewText("password.same"))
	}
	hash, err := models.HashPassword(ctx, password)
	if err != nil {
		return err
	}
	return s.changeUser(ctx, actor, u.ID, "password.change", false, func(tx *gorm.DB, u *models.User) error {
		return s.replacePassword(tx, actor, u, hash, keepSession, "password.change")
	})
}

// SetPasswordByName sets the password of a user of any project, for the administrator at
// the host's terminal. It ends the user's sessions and clears its failed sign-ins.
// Errors: ErrNotFound, CodeInvalid with the field password, those of the database.
func (s Users) SetPasswordByName(ctx context.Context, name, password string) error {
	if text := models.ValidatePassword(password, name); text != nil {
		return models.Invalid("password", *text)
	}
	var u models.User
	if err := takeOne(s.read(ctx).Where("name = ?", name), &u); err != nil {
		return err
	}
	hash, err := models.HashPassword(ctx, password)
	if err != nil {
		return err
	}
	actor := models.Actor{Name: models.HostUser, Project: u.ProjectID}
	return s.changeUser(ctx, actor, u.ID, "password.reset", false, func(tx *gorm.DB, u *models.User) error {
		return s.replacePassword(tx, actor, u, hash, "", "password.reset")
	})
}

func (s *Store) replacePassword(tx *gorm.DB, actor models.Actor, u *models.User, hash, keepSession, action string) error {
	if err := tx.Model(u).Update("password_hash", hash).Error; err != nil {
		return err
	}
	if err := endSessions(tx, u.ID, keepSession); err != nil {
		return err
	}
	if err := clearFailures(tx, accountKey(u.Name)); err != nil {
		return err
	}
	return s.audit(tx, actor, u.AuditEntry(action, ""))
}

// changeUser runs fn on a user of the actor's project in one transaction. weakens means
// that the user will not be an active administrator: then another one must exist. Their
// rows are locked, so that two who demote each other cannot both succeed. A refusal is
// audited.
func (s *Store) changeUser(ctx context.Context, actor models.Actor, id, action string, weakens bool, fn func(tx *gorm.DB, u *models.User) error) error {
	if uuid.Validate(id) != nil {
		return models.ErrNotFound
	}
	err := s.write(ctx, func(tx *gorm.DB) error {
		if weakens {
			var active []string
			q := s.forUpdate(tx).Model(&models.User{}).Where("role = ? AND disabled = 0", models.Administrator).Order("id")
			if err := q.Pluck("id", &active).Error; err != nil {
				return err
			}
			if len(active) == 1 && active[0] == id {
				return models.ErrLastAdministrator
			}
		}
		var u models.User
		if err := takeOne(s.forUpdate(tx).Where("id = ? AND project_id = ?", id, actor.Project), &u); err != nil {
			return s.deletionAudited(tx, actor.Project, models.AuditSubjectUser, id, err)
		}
		return fn(tx, &u)
	})
	return s.audited(ctx, actor, models.AuditEntry{Action: action, SubjectType: models.AuditSubjectUser, SubjectID: id}, err)
}
