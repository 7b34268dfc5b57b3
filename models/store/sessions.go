package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"blockconsole/models"
)

const (
	// sessionTouch is the shortest time between two updates of a session in use.
	sessionTouch = time.Minute

	secretBytes     = 32
	browserMaxBytes = 200
)

// SignIn checks name and password and opens a session. The token is for the cookie and
// is not stored. Errors: CodeUnauthorized, the same for every reason,
// *models.ThrottledError, those of the database.
func (s Sessions) SignIn(ctx context.Context, login models.Login) (token string, in *models.SignedIn, err error) {
	var u models.User
	if models.ValidateUserName(login.Name) == nil { // no user has another name, and databases refuse some names
		err = takeOne(s.read(ctx).Where("name = ?", login.Name), &u)
		if err != nil && models.AsError(err) == nil {
			return "", nil, err
		}
	}
	hash := u.PasswordHash
	if u.ID == "" {
		hash = models.DummyHash
	}
	actor := models.Actor{Name: u.Name, Project: u.ProjectID, Address: login.Address, RequestID: login.RequestID}
	counters := strangersCounters(login.Name, login.Address)
	if device := s.deviceKey.Device(login.Device, u.ID); device != "" && u.ID != "" {
		counters = []attemptCounter{{who: "device:" + hashed([]string{device, u.ID}), limit: AccountAttempts}}
	}
	err = s.checkPassword(ctx, counters, login.Password, hash)
	if err == nil && (u.ID == "" || u.Disabled) {
		err = errWrongLogin
	}
	if err != nil {
		// A name that is none is not written: people type passwords there.
		return "", nil, s.audited(ctx, actor, u.AuditEntry("login.failed", ""), err)
	}
	token, in, err = s.openSession(ctx, actor, &u, login)
	if err == nil {
		in.Device = s.deviceKey.Add(login.Device, u.ID)
	}
	return token, in, err
}

func (s *Store) openSession(ctx context.Context, actor models.Actor, u *models.User, login models.Login) (string, *models.SignedIn, error) {
	secret := make([]byte, secretBytes)
	rand.Read(secret)
	now := s.Now()
	session := models.Session{
		ID: models.NewID(), SecretHash: hashSecret(secret), CSRF: rand.Text(), UserID: u.ID,
		Address: login.Address, Browser: truncate(login.Browser, browserMaxBytes),
		CreatedAt: models.Micros(now), SeenAt: models.Micros(now), ExpiresAt: models.Micros(now.Add(models.SessionIdle)),
	}
	err := s.write(ctx, func(tx *gorm.DB) error {
		if previous, _, ok := parseToken(login.Replaces); ok {
			if err := tx.Where("id = ?", previous).Delete(&models.Session{}).Error; err != nil {
				return err
			}
		}
		// Before the sessions are counted: it lets sign-ins of one user wait for each other.
		if err := tx.Model(u).Update("seen_at", models.Micros(now)).Error; err != nil {
			return err
		}
		if err := tx.Create(&session).Error; err != nil {
			return err
		}
		if err := s.endOldestSessions(tx, actor, u); err != nil {
			return err
		}
		return s.audit(tx, actor, u.AuditEntry("login", ""))
	})
	if err != nil {
		return "", nil, err
	}
	token := session.ID + "." + base64.RawURLEncoding.EncodeToString(secret)
	return token, &models.SignedIn{Session: session, Name: u.Name, Role: u.Role, ProjectID: u.ProjectID, Mark: models.PersonMark(u.ID, u.PasswordHash)}, nil
}

// endOldestSessions ends the user's sessions beyond the limit, each with a line in the
// audit.
func (s *Store) endOldestSessions(tx *gorm.DB, actor models.Actor, u *models.User) error {
	var ids []string
	err := tx.Model(&models.Session{}).Where("user_id = ?", u.ID).Order("created_at DESC, id DESC").
		Offset(s.sessionsPerUser).Pluck("id", &ids).Error
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := tx.Where("id IN ?", ids).Delete(&models.Session{}).Error; err != nil {
		return err
	}
	for range ids {
		if err := s.audit(tx, actor, u.AuditEntry("session.end", "")); err != nil {
			return err
		}
	}
	return nil
}

func hashSecret(secret []byte) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:])
}

// parseToken splits the value of a cookie into id and secret.
func parseToken(token string) (id string, secret []byte, ok bool) {
	id, text, found := strings.Cut(token, ".")
	if !found || uuid.Validate(id) != nil {
		return "", nil, false
	}
	secret, err := base64.RawURLEncoding.DecodeString(text)
	return id, secret, err == nil && len(secret) == secretBytes
}

// truncate shortens text to at most limit bytes of valid UTF-8.
func truncate(text string, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.ToValidUTF8(text, "")
}

// Session returns the session of a token and its user, by one query over two primary
// keys. Errors: ErrSignedOut when it does not exist, has expired or its user is
// disabled, those of the database.
func (s Sessions) Session(ctx context.Context, token string) (*models.SignedIn, error) {
	id, secret, ok := parseToken(token)
	if !ok {
		return nil, models.ErrSignedOut
	}
	var found struct {
		models.SignedIn
		PasswordHash string
	}
	result := s.read(ctx).Raw(`SELECT s.id, s.secret_hash, s.csrf, s.user_id, s.address, s.browser, s.created_at, s.seen_at, s.expires_at,
		u.name, u.role, u.project_id, u.disabled, u.password_hash
		FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ?`, id).Scan(&found)
	if result.Error != nil {
		return nil, result.Error
	}
	now, in := s.Now(), &found.SignedIn
	right := subtle.ConstantTimeCompare([]byte(hashSecret(secret)), []byte(in.SecretHash)) == 1
	if result.RowsAffected == 0 || !right || in.Disabled || in.ExpiresAt <= models.Micros(now) {
		return nil, models.ErrSignedOut
	}
	if models.Micros(now)-in.SeenAt >= sessionTouch.Microseconds() {
		// The request must not fail because of it.
		if err := s.touch(ctx, in, now); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "cannot record that a session is in use", "error", err)
		}
	}
	in.Mark = models.PersonMark(in.UserID, found.PasswordHash)
	return in, nil
}

// touch postpones the expiry of the session, and records the user's last request.
func (s *Store) touch(ctx context.Context, in *models.SignedIn, now time.Time) error {
	in.SeenAt = models.Micros(now)
	in.ExpiresAt = min(models.Micros(now.Add(models.SessionIdle)), in.CreatedAt+models.SessionMax.Microseconds())
	return s.write(ctx, func(tx *gorm.DB) error {
		err := tx.Model(&models.Session{}).Where("id = ?", in.ID).
			Updates(map[string]any{"seen_at": in.SeenAt, "expires_at": in.ExpiresAt}).Error
		if err != nil {
			return err
		}
		return tx.Model(&models.User{}).Where("id = ?", in.UserID).Update("seen_at", in.SeenAt).Error
	})
}

// ListSessions returns the actor's own sessions, the last used first. Errors: those of
// the database.
func (s Sessions) ListSessions(ctx context.Context, actor models.Actor) ([]models.Session, error) {
	var sessions []models.Session
	return sessions, s.read(ctx).Where("user_id = ? AND expires_at > ?", actor.UserID, models.Micros(s.Now())).
		Order("seen_at DESC, id DESC").Find(&sessions).Error
}

// EndSession ends one of the actor's own sessions. Errors: ErrNotFound, those of the
// database.
func (s Sessions) EndSession(ctx context.Context, actor models.Actor, id string) error {
	return s.endSession(ctx, actor, id, "session.end")
}

// SignOut ends the session of the actor's browser. Errors: ErrNotFound when it has ended
// already, those of the database.
func (s Sessions) SignOut(ctx context.Context, actor models.Actor, id string) error {
	return s.endSession(ctx, actor, id, "logout")
}

func (s *Store) endSession(ctx context.Context, actor models.Actor, id, action string) error {
	if uuid.Validate(id) != nil {
		return models.ErrNotFound
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		result := tx.Where("id = ? AND user_id = ?", id, actor.UserID).Delete(&models.Session{})
		if result.Error != nil {
			return result.Error
		}
		if result.RowsAffected == 0 {
			return models.ErrNotFound
		}
		return s.audit(tx, actor, userOf(actor).AuditEntry(action, ""))
	})
}

func userOf(actor models.Actor) *models.User { return &models.User{ID: actor.UserID, Name: actor.Name} }

// EndOtherSessions ends the actor's sessions except the one with the id keep. Errors:
// those of the database.
func (s Sessions) EndOtherSessions(ctx context.Context, actor models.Actor, keep string) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		if err := endSessions(tx, actor.UserID, keep); err != nil {
			return err
		}
		return s.audit(tx, actor, userOf(actor).AuditEntry("session.end", ""))
	})
}

func endSessions(tx *gorm.DB, userID, keep string) error {
	return tx.Where("user_id = ? AND id <> ?", userID, keep).Delete(&models.Session{}).Error
}

// Throttling of wrong passwords. An attempt is counted before its password is verified,
// so that concurrent attempts are limited too, and uncounted when it was right. From the
// limit on, each failure blocks its counter: for one minute, two, four, up to fifteen.
// Fifteen minutes after the first failure the count starts again.
//
// Strangers count for the account and for their address. A browser that has signed the
// user in before, and a session that changes its password, have counters of their own:
// no stranger can block them.
const (
	AccountAttempts = 10 // limit of failures of an account, and of a device and a session
	AddressAttempts = 50 // limit of failures from an address
	attemptWindow   = 15 * time.Minute
	firstBlock      = time.Minute
	maxBlock        = 15 * time.Minute
)

// attemptCounter counts failed attempts. One that is shared counts those of several
// accounts: a right password takes back its own attempt alone.
type attemptCounter struct {
	who    string
	limit  int
	shared bool
}

func strangersCounters(name, address string) []attemptCounter {
	return []attemptCounter{{who: accountKey(name), limit: AccountAttempts}, {who: addressKey(address), limit: AddressAttempts, shared: true}}
}

// LoginFailure is a counter of failed attempts. FirstAt and BlockedUntil are in Unix
// microseconds.
type LoginFailure struct {
	Who          string `gorm:"primaryKey"`
	Failures     int    // number of them since FirstAt
	FirstAt      int64
	BlockedUntil int64
}

// accountKey is the key of an account. Names are hashed, since people type passwords into
// the wrong field.
func accountKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "user:" + hex.EncodeToString(sum[:16])
}

// addressKey is the key of an address. IPv6 addresses count by their /64: a client has
// all the addresses in it.
func addressKey(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return "address:?"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		prefix, err := ip.Prefix(64)
		if err == nil {
			return "address:" + prefix.String()
		}
	}
	return "address:" + ip.String()
}

// countAttempt counts an attempt. When one of the counters is blocked it returns
// *models.ThrottledError and counts nothing.
func (s *Store) countAttempt(ctx context.Context, counters []attemptCounter) error {
	now := s.Now()
	var who []string
	for _, c := range counters {
		who = append(who, c.who)
	}
	if wait, err := longestBlock(s.read(ctx), who, now); err != nil || wait > 0 {
		return errors.Join(err, throttled(wait))
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		for _, c := range counters {
			if err := s.countFailure(tx, c.who, c.limit, now); err != nil {
				return err
			}
		}
		return nil
	})
}

func throttled(wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	return &models.ThrottledError{RetryAfter: wait}
}

func longestBlock(db *gorm.DB, who []string, now time.Time) (time.Duration, error) {
	var rows []LoginFailure
	if err := db.Where("who IN ?", who).Find(&rows).Error; err != nil {
		return 0, err
	}
	var wait time.Duration
	for _, f := range rows {
		wait = max(wait, time.UnixMicro(f.BlockedUntil).Sub(now))
	}
	return wait, nil
}

func (s *Store) countFailure(tx *gorm.DB, who string, limit int, now time.Time) error {
	// One statement inserts the row or locks it: of two concurrent attempts the second sees the first, also when that
	// was right and deleted the row.
	fresh := LoginFailure{Who: who, FirstAt: models.Micros(now)}
	var f LoginFailure
	err := tx.Raw(`INSERT INTO login_failures (who, first_at, failures, blocked_until) VALUES (?, ?, 0, 0)
		ON CONFLICT (who) DO UPDATE SET who = excluded.who RETURNING *`, who, fresh.FirstAt).Scan(&f).Error
	if err != nil {
		return err
	}
	if f.BlockedUntil > models.Micros(now) {
		return &models.ThrottledError{RetryAfter: time.UnixMicro(f.BlockedUntil).Sub(now)}
	}
	if models.Micros(now)-f.FirstAt > attemptWindow.Microseconds() {
		f = fresh
	}
	f.Failures++
	if over := f.Failures - limit; over >= 0 {
		f.BlockedUntil = models.Micros(now.Add(min(firstBlock<<min(over, 10), maxBlock)))
	}
	return tx.Save(&f).Error
}

// uncountAttempt undoes countAttempt after a password that was right.
func uncountAttempt(tx *gorm.DB, counters []attemptCounter) error {
	for _, c := range counters {
		if !c.shared {
			if err := clearFailures(tx, c.who); err != nil {
				return err
			}
			continue
		}
		err := tx.Model(&LoginFailure{}).Where("who = ? AND failures > 0", c.who).
			Updates(map[string]any{"failures": gorm.Expr("failures - 1"), "blocked_until": 0}).Error
		if err != nil {
			return err
		}
	}
	return nil
}

func clearFailures(tx *gorm.DB, who string) error {
	return tx.Where("who = ?", who).Delete(&LoginFailure{}).Error
}

// checkPassword verifies a password with throttling. Errors: CodeUnauthorized when it is
// wrong, *models.ThrottledError, those of the database.
func (s *Store) checkPassword(ctx context.Context, counters []attemptCounter, password, hash string) error {
	if err := s.countAttempt(ctx, counters); err != nil {
		return err
	}
	right, err := models.VerifyPassword(ctx, password, hash)
	if err != nil {
		return err
	}
	if !right {
		return errWrongLogin
	}
	return s.write(ctx, func(tx *gorm.DB) error { return uncountAttempt(tx, counters) })
}

var errWrongLogin = &models.Error{Code: models.CodeUnauthorized, Text: models.NewText("login.failed")}

// loadSecret returns the secret of that name, which the first console on the database
// makes.
func (s *Store) loadSecret(name string) ([]byte, error) {
	row := secret{Name: name}
	err := takeOne(s.db.Where("name = ?", name), &row)
	if errors.Is(err, models.ErrNotFound) {
		row.Value = rand.Text() + rand.Text()
		if err = s.db.Clauses(clause.OnConflict{DoNothing: true}).Create(&row).Error; err == nil {
			err = takeOne(s.db.Where("name = ?", name), &row)
		}
	}
	return []byte(row.Value), err
}

// secret is a key that all consoles on the database share.
type secret struct {
	Name  string `gorm:"primaryKey"`
	Value string
}
