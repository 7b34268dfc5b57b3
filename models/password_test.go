package models_test

import (
	"errors"
	"strings"
	"testing"

	"blockconsole/models"
)

func TestHashPassword(t *testing.T) {
	hash, err := models.HashPassword(t.Context(), "비밀번호 하나")
	if err != nil {
		t.Fatal(err)
	}
	again, err := models.HashPassword(t.Context(), "비밀번호 하나")
	if err != nil || again == hash {
		t.Errorf("two hashes are equal, or error %v", err)
	}
	for password, want := range map[string]bool{"비밀번호 하나": true, "비밀번호 둘": false, "": false} {
		if right, err := models.VerifyPassword(t.Context(), password, hash); err != nil || right != want {
			t.Errorf("%q: %v, error %v", password, right, err)
		}
	}
	for _, damaged := range []string{"", "plain", "$argon2id$v=19$m=0,t=0,p=0$AA$AA", "$argon2id$v=19$x$AA$AA", strings.Replace(hash, "v=19", "v=16", 1)} {
		if _, err := models.VerifyPassword(t.Context(), "x", damaged); !errors.Is(err, models.ErrDamagedHash) {
			t.Errorf("%q: %v", damaged, err)
		}
	}
	if a, b := models.GeneratePassword(), models.GeneratePassword(); a == b || models.ValidatePassword(a, "") != nil {
		t.Errorf("generated %q and %q", a, b)
	}
}

func TestValidatePassword(t *testing.T) {
	for password, want := range map[string]string{
		"correct horse": "", "비밀번호 하나 더 둘": "", strings.Repeat("값진 암호 열 글자", 10): "", "Tr0ub4dour&3": "", strings.Repeat("long and unusual ", 15): "",
		"short": "password.short", strings.Repeat("x", 257): "password.long", "\xff23456789012": "password.long", "Kim Minji 1": "password.is_name",
		"password123": "password.common", "          ": "password.common", "qwertyuiop": "password.common", "1q2w3e4r5t": "password.common",
		"aaaaaaaaaa": "password.common", "abcdefghij": "password.common", "19991231 ": "password.short", "kimminji11": "password.common",
		"P@ssw0rd12": "password.common", strings.Repeat("x", 256): "password.common", "blockconsole1": "password.common",
	} {
		got := ""
		if text := models.ValidatePassword(password, "kim minji 1"); text != nil {
			got = text.Key
		}
		if got != want {
			t.Errorf("%.30q: %q, want %q", password, got, want)
		}
	}
}

func TestValidateUserName(t *testing.T) {
	for name, ok := range map[string]bool{
		"kim": true, "김철수": true, "a b": true, "x": true, strings.Repeat("가", 64): true,
		"": false, strings.Repeat("가", 65): false, " kim": false, "kim ": false, "a\nb": false, "a\x00b": false,
		"zero\u200bwidth": false, "\xff": false, "right\u202eleft": false,
	} {
		if got := models.ValidateUserName(name) == nil; got != ok {
			t.Errorf("%q accepted: %v, want %v", name, got, ok)
		}
	}
}

// TestDummyHash expects the cost of other hashes, so that the time of a sign-in does not tell
// whether a user exists.
func TestDummyHash(t *testing.T) {
	hash, err := models.HashPassword(t.Context(), "a password")
	if err != nil {
		t.Fatal(err)
	}
	cost := func(hash string) string {
		return hash[:strings.LastIndexByte(hash[:strings.LastIndexByte(hash, '$')], '$')]
	}
	if cost(models.DummyHash) != cost(hash) || !strings.Contains(hash, "$m=19456,t=2,p=1$") {
		t.Errorf("%s and %s", models.DummyHash, hash)
	}
}
