package models

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn"
	"golang.org/x/crypto/argon2"
)

// Limits of user names and passwords.
const (
	UserNameMaxRunes  = 64
	PasswordMinRunes  = 10
	PasswordMaxBytes  = 256
	generatedPassword = 20 // letters and digits of base32: 100 bits
)

// The parameters of argon2id in OWASP's password storage cheat sheet: 19 MiB, two
// passes, one lane; about 30 ms of one core.
const (
	argonMemoryKiB = 19 * 1024
	argonPasses    = 2
	argonLanes     = 1
	argonSaltBytes = 16
	argonKeyBytes  = 32
)

// hashSlots bounds how many passwords are hashed at once, and with it the memory that a
// flood of sign-ins can take: 19 MiB for each core, at least two.
var hashSlots = make(chan struct{}, max(2, runtime.NumCPU()))

// ErrDamagedHash is the error of a stored password hash that cannot be parsed.
var ErrDamagedHash = errors.New("stored password hash cannot be read")

// ValidateUserName returns what is wrong with a new user's name; nil when it is valid:
// 1 to 64 printable characters without spaces at the ends.
func ValidateUserName(name string) *Text {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > UserNameMaxRunes || !utf8.ValidString(name) || strings.TrimSpace(name) != name ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return &Text{Key: "user.name.invalid", Args: []string{strconv.Itoa(UserNameMaxRunes)}}
	}
	return nil
}

// PasswordRule is ValidatePassword in a sentence for the terminal.
var PasswordRule = fmt.Sprintf("the password must have %d characters or more, %d bytes or fewer, and be neither easy to guess (a common password, a row of keys) nor the user's name",
	PasswordMinRunes, PasswordMaxBytes)

// ValidatePassword returns what is wrong with a new password: fewer than 10 characters,
// more than 256 bytes, the user's own name, or one that is guessed early (common ones,
// repetitions, rows of keys, dates, and these with a digit more); nil when it is valid.
func ValidatePassword(password, userName string) *Text {
	if wrong := ValidatePasswordLength(password); wrong != nil {
		return wrong
	}
	if strings.EqualFold(password, userName) {
		return &Text{Key: "password.is_name"}
	}
	known := append(strings.Fields(strings.ToLower(userName)), strings.ToLower(strings.Join(strings.Fields(userName), "")), "blockconsole")
	if zxcvbn.PasswordStrength(strings.ToValidUTF8(password[:min(len(password), strengthBytes)], ""), known).Guesses < passwordGuesses {
		return &Text{Key: "password.common"}
	}
	return nil
}

const (
	// passwordGuesses is how many guesses a password must withstand, by the estimate of zxcvbn: «protection from
	// throttled online attacks». More do not come here, and the stored hashes are slow.
	passwordGuesses = 1e6
	strengthBytes   = 100 // of a password are estimated: the time grows with the square
)

// ValidatePasswordLength returns what is wrong with the length of a new password; nil
// when it is valid.
func ValidatePasswordLength(password string) *Text {
	switch {
	case utf8.RuneCountInString(password) < PasswordMinRunes:
		return &Text{Key: "password.short", Args: []string{strconv.Itoa(PasswordMinRunes)}}
	case len(password) > PasswordMaxBytes || !utf8.ValidString(password):
		return &Text{Key: "password.long", Args: []string{strconv.Itoa(PasswordMaxBytes)}}
	}
	return nil
}

// GeneratePassword returns a random password that is easy to type.
func GeneratePassword() string { return strings.ToLower(rand.Text()[:generatedPassword]) }

// HashPassword hashes a password with argon2id, in the PHC string format. It waits for
// a free slot. Errors: none of its own, only that of ctx.
func HashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, argonSaltBytes)
	rand.Read(salt)
	key, err := argonKey(ctx, password, salt, argonMemoryKiB, argonPasses, argonLanes, argonKeyBytes)
	if err != nil {
		return "", err
	}
	return formatHash(salt, key), nil
}

func formatHash(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemoryKiB, argonPasses, argonLanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// VerifyPassword reports whether password is the one that was hashed, in constant time.
// It waits for a free slot. Errors: ErrDamagedHash, that of ctx.
func VerifyPassword(ctx context.Context, password, hash string) (bool, error) {
	parts := strings.Split(hash, "$")
	var memory, passes uint32
	var lanes uint8
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return false, ErrDamagedHash
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &lanes); err != nil || n != 3 || passes == 0 || lanes == 0 {
		return false, ErrDamagedHash
	}
	salt, saltErr := base64.RawStdEncoding.DecodeString(parts[4])
	want, keyErr := base64.RawStdEncoding.DecodeString(parts[5])
	if saltErr != nil || keyErr != nil || len(want) == 0 {
		return false, ErrDamagedHash
	}
	key, err := argonKey(ctx, password, salt, memory, passes, lanes, uint32(len(want)))
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(key, want) == 1, nil
}

func argonKey(ctx context.Context, password string, salt []byte, memory, passes uint32, lanes uint8, size uint32) ([]byte, error) {
	select {
	case hashSlots <- struct{}{}:
		defer func() { <-hashSlots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, passes, memory, lanes, size), nil
}
