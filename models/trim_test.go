package models_test

import (
	"testing"

	"blockconsole/models"
)

// spaces are what pasted text brings along: from terminals, web pages, spreadsheets
// and chats.
var spaces = map[string]string{
	"space": " ", "tab": "\t", "line": "\r\n", "no-break space": "\u00a0", "ideographic space": "\u3000", "em space": "\u2003",
	"zero-width space": "\u200b", "zero-width joiner": "\u200d", "word joiner": "\u2060", "byte order mark": "\ufeff",
	"left-to-right mark": "\u200e", "bidi isolate": "\u2066", "soft hyphen": "\u00ad", "next line": "\u0085",
}

func TestTrimSpace(t *testing.T) {
	for name, space := range spaces {
		if got := models.TrimSpace(space + "web 1" + space + " "); got != "web 1" {
			t.Errorf("%s: %+q is left", name, got)
		}
	}
	for _, kept := range []string{"", "web\u00a01", "\ud55c\uae00", "a\x00", "\xff", "\u3164"} {
		if got := models.TrimSpace(kept); got != kept {
			t.Errorf("%+q became %+q", kept, got)
		}
	}
}

// TestValidateName_NamesTheSpace: a name stays as typed, and the message says what
// nobody sees.
func TestValidateName_NamesTheSpace(t *testing.T) {
	for name, space := range spaces {
		for rule, validate := range map[string]func(string) *models.Text{"name.invalid": models.ValidateName, "server.name_invalid": models.ValidateServerName} {
			for typed, want := range map[string]string{"web-1" + space: ".space_after", space + "web-1": ".space_before", space + "w" + space: ".space_after"} {
				if wrong := validate(typed); wrong == nil || wrong.Key != rule+want {
					t.Errorf("%s %s: %+q says %+v, want %s", rule, name, typed, wrong, rule+want)
				}
			}
		}
	}
	for _, typed := range []string{"", "  ", "a b", "web_1 x"} {
		if wrong := models.ValidateName(typed); wrong == nil || wrong.Key != "name.invalid" {
			t.Errorf("%q says %+v", typed, wrong)
		}
	}
}

func TestParseSize_Spaces(t *testing.T) {
	for name, space := range spaces {
		if n, wrong := models.ParseSize(space + "10" + space); n != 10 || wrong != nil {
			t.Errorf("%s: %d, %+v", name, n, wrong)
		}
	}
	if _, wrong := models.ParseSize("1 0"); wrong == nil {
		t.Error("a space inside a number is none of its ends")
	}
}
