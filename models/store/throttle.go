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

// Throttling of sign-ins. A try is counted before its password is looked at, so
// that many at once gain nothing, and taken back when it was right. From the
// limit on, each failure closes the account or the address for a minute, then
// two, four, up to fifteen. Fifteen minutes after the first failure the count
// begins anew.
const (
	AccountAttempts = 10
	AddressAttempts = 50
	attemptWindow   = 15 * time.Minute
	firstBlock      = time.Minute
	maxBlock        = 15 * time.Minute
)

// LoginFailure counts failed sign-ins of one account or from one address.
type LoginFailure struct {
	Who          string `gorm:"primaryKey"`
	Failures     int
	FirstAt      int64
	BlockedUntil int64
}

// accountKey names an account in the table. Names are hashed, since people type
// passwords into the wrong field.
func accountKey(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "user:" + hex.EncodeToString(sum[:16])
}

// addressKey names an address. Of IPv6 the /64 counts: whoever has one address of
// it has them all.
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

// countAttempt counts a try against the account and the address, or refuses it with
// *ThrottledError when one of them is closed. A refused try is not counted.
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
	// The row first, then its lock: of two tries at once the second one sees the first.
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

// checkPassword checks a password with throttling. CodeUnauthorized when it is
// wrong; *ThrottledError.
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
