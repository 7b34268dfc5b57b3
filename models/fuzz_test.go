package models_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"blockconsole/models"
)

var nameRule = regexp.MustCompile(`\A[A-Za-z0-9-]{3,20}\z`)

func FuzzValidateName(f *testing.F) {
	for _, seed := range []string{"", "ab", "abc", "a-1", "\uac00\ub098\ub2e4", "a b", "abc\x00", "<b>x</b>", "abcdefghijklmnopqrstu", "\xff\xff\xff"} {
		f.Add(seed)
	}
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, name string) {
		if ok := models.ValidateName(name) == nil; ok != nameRule.MatchString(name) {
			t.Errorf("%+q: %t", name, ok)
		}
		if suggested := models.SuggestName(name, at); models.ValidateName(suggested) != nil {
			t.Errorf("%+q: suggested %q", name, suggested)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"", "0", "1", "-1", "1.5", "+1", "01", "2147483648", "\uff11", "1\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		size, wrong := models.ParseSize(typed)
		if wrong == nil && (size < 1 || strconv.Itoa(size) != typed) || wrong != nil && size != 0 {
			t.Errorf("%+q: %d %+v", typed, size, wrong)
		}
	})
}
