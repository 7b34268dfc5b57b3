package storetest

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"

	"blockconsole/models"
	"blockconsole/models/store"
)

// Password is that of all users of OpenWithUsers.
const Password = "correct horse"

// OpenWithUsers opens a fresh SQLite file with the first user and one more for each
// role, named like the role. They sign in with Password, at a cost that does not
// count: their hashes are weak.
func OpenWithUsers(t testing.TB, options store.Options) *store.Store {
	t.Helper()
	return openCopy(t, databaseWithUsers, options)
}

var databaseWithUsers = sync.OnceValues(func() ([]byte, error) {
	return makeDatabase(func(db *store.Store, path string) error {
		_, err := db.Users.EnsureFirstUser(context.Background(), Password)
		for _, role := range models.Roles {
			_, addErr := db.Users.AddUser(context.Background(), Administrator(), string(role), role, Password)
			err = errors.Join(err, addErr)
		}
		if err != nil {
			return err
		}
		raw, err := sql.Open("sqlite", path)
		if err != nil {
			return err
		}
		_, err = raw.Exec("UPDATE users SET password_hash = ?", weakHash(Password))
		return errors.Join(err, raw.Close())
	})
})

// weakHash is an argon2id hash of the least memory and one pass. VerifyPassword goes
// by the cost that a hash names.
func weakHash(password string) string {
	const memoryKiB, passes, lanes, keyBytes = 8, 1, 1, 32
	salt := []byte("salt for testing")
	key := argon2.IDKey([]byte(password), salt, passes, memoryKiB, lanes, keyBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memoryKiB, passes, lanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}
