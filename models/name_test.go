package models_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
)

func TestValidateName(t *testing.T) {
	for _, tt := range []struct {
		name, typed string
		ok          bool
	}{
		{"empty", "", false},
		{"2 bytes", "ab", false},
		{"3 bytes", "abc", true},
		{"20 bytes", strings.Repeat("a", 20), true},
		{"21 bytes", strings.Repeat("a", 21), false},
		{"all that is allowed", "Az09-snapshot", true},
		{"only dashes", "---", true},
		{"Korean of 3 letters", "\uc2a4\ub0c5\uc0f7", false},
		{"one Korean letter of 3 bytes", "\uac00", false},
		{"emoji", "snap\U0001F4BE", false},
		{"space inside", "my snap", false},
		{"space before", " snap", false},
		{"space after", "snap ", false},
		{"underscore", "my_snap", false},
		{"NUL", "sna\x00p", false},
		{"newline", "snap\n", false},
		{"HTML", "<b>x</b>", false},
		{"full-width letters", "\uff41\uff42\uff43", false},
		{"soft hyphen", "ab\u00adc", false},
		{"invalid UTF-8", "abc\xff", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if wrong := models.ValidateName(tt.typed); (wrong == nil) != tt.ok {
				t.Errorf("%+q: %+v", tt.typed, wrong)
			}
		})
	}
}

func TestValidateDescription(t *testing.T) {
	for typed, ok := range map[string]bool{
		"": true, "before the upgrade": true, strings.Repeat("\uac00", 255): true, strings.Repeat("a", 256): false,
		"a\nb": false, "a\x00b": false, "a\x7fb": false, "\xff": false, "<b>&": true,
	} {
		if wrong := models.ValidateDescription(typed); (wrong == nil) != ok {
			t.Errorf("%+q: %+v", typed, wrong)
		}
	}
}

func TestSuggestName(t *testing.T) {
	at := time.Date(2026, 11, 22, 15, 30, 0, 0, time.UTC)
	for volume, want := range map[string]string{
		"data": "data-1122-1530", "web-server-1-data": "web-server-1122-1530", "": "snapshot-1122-1530", "\ub370\uc774\ud130": "snapshot-1122-1530",
		"a_b c": "abc-1122-1530", "---": "-1122-1530", "web-------------x": "web-1122-1530",
	} {
		if got := models.SuggestName(volume, at); got != want || models.ValidateName(got) != nil {
			t.Errorf("%q: %q, want %q", volume, got, want)
		}
	}
}

func TestParseSize(t *testing.T) {
	for typed, want := range map[string]int{
		"1": 1, "16384": 16384, "2147483647": 2147483647, "": 0, "0": 0, "-1": 0, "1.5": 0, "1e3": 0, "+1": 0, "01": 0, "1 1": 0,
		"2147483648": 0, "99999999999999999999": 0, "0x10": 0, "1_000": 0, "\uff11": 0, "ten": 0,
	} {
		got, wrong := models.ParseSize(typed)
		if got != want || (wrong == nil) != (want > 0) {
			t.Errorf("%q: %d, %+v", typed, got, wrong)
		}
	}
}

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
