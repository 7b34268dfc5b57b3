package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"blockconsole/models"
)

// Throttling of sign-ins. An attempt is counted before its password is verified, so that
// concurrent attempts are limited too, and uncounted when it was right. From the limit
// on, each failure blocks the account or the address: for one minute, two, four, up to
// fifteen. Fifteen minutes after the first failure the count starts again.
const (
	AccountAttempts = 10 // limit of failures of an account
	AddressAttempts = 50 // limit of failures from an address
	attemptWindow   = 15 * time.Minute
	firstBlock      = time.Minute
	maxBlock        = 15 * time.Minute
)

// LoginFailure counts the failed sign-ins of one account or from one address. FirstAt and
// BlockedUntil are in Unix microseconds.
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

// countAttempt counts an attempt against the account and the address. When one of them
// is blocked it returns *models.ThrottledError and counts nothing.
func (s *Store) countAttempt(ctx context.Context, name, address string) error {
	account, from, now := accountKey(name), addressKey(address), s.Now()
	if wait, err := longestBlock(s.read(ctx), []string{account, from}, now); err != nil || wait > 0 {
		return errors.Join(err, throttled(wait))
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		if err := s.countFailure(tx, account, AccountAttempts, now); err != nil {
			return err
		}
		return s.countFailure(tx, from, AddressAttempts, now)
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
	// Insert the row before locking it: of two concurrent attempts the second then sees the first.
	fresh := LoginFailure{Who: who, FirstAt: models.Micros(now)}
	if err := tx.Clauses(clause.OnConflict{DoNothing: true}).Create(&fresh).Error; err != nil {
		return err
	}
	var f LoginFailure
	if err := takeOne(s.forUpdate(tx).Where("who = ?", who), &f); err != nil {
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
func uncountAttempt(tx *gorm.DB, name, address string) error {
	if err := clearFailures(tx, accountKey(name)); err != nil {
		return err
	}
	return tx.Model(&LoginFailure{}).Where("who = ? AND failures > 0", addressKey(address)).
		Updates(map[string]any{"failures": gorm.Expr("failures - 1"), "blocked_until": 0}).Error
}

func clearFailures(tx *gorm.DB, who string) error {
	return tx.Where("who = ?", who).Delete(&LoginFailure{}).Error
}

// checkPassword verifies a password with throttling. Errors: CodeUnauthorized when it is
// wrong, *models.ThrottledError, those of the database.
func (s *Store) checkPassword(ctx context.Context, actor models.Actor, name, password, hash string) error {
	if err := s.countAttempt(ctx, name, actor.Address); err != nil {
		return err
	}
	right, err := models.VerifyPassword(ctx, password, hash)
	if err != nil {
		return err
	}
	if !right {
		return errWrongLogin
	}
	return s.write(ctx, func(tx *gorm.DB) error { return uncountAttempt(tx, name, actor.Address) })
}

var errWrongLogin = &models.Error{Code: models.CodeUnauthorized, Text: models.NewText("login.failed")}
