package apptest

import (
	"strings"
	"testing"
)

// WantStatus ends the test when the answer has another status.
func WantStatus(t testing.TB, a Answer, want int) {
	t.Helper()
	if a.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d", a.Request.Method, a.Request.URL.Path, a.StatusCode, want)
	}
}

// WantText fails when the first element that the selector finds does not contain
// the text.
func WantText(t testing.TB, a Answer, selector, text string) {
	t.Helper()
	found := a.Doc(t).Find(selector)
	if found.Length() == 0 {
		t.Errorf("no %s in\n%s", selector, a.Body)
		return
	}
	if got := strings.Join(strings.Fields(found.First().Text()), " "); !strings.Contains(got, text) {
		t.Errorf("%s says %q, want %q", selector, got, text)
	}
}

// WantNone fails when the selector finds anything.
func WantNone(t testing.TB, a Answer, selector string) {
	t.Helper()
	if n := a.Doc(t).Find(selector).Length(); n > 0 {
		t.Errorf("%d of %s in\n%s", n, selector, a.Body)
	}
}

// WantFieldError fails when a field of the popup is not marked as invalid, or the
// message that it names does not contain the text.
func WantFieldError(t testing.TB, a Answer, field, text string) {
	t.Helper()
	doc := a.Doc(t)
	input := doc.Find("#popup-form [name=" + field + "]").First()
	if input.AttrOr("aria-invalid", "") != "true" {
		t.Errorf("%s is not marked in\n%s", field, a.Body)
		return
	}
	message := ""
	for id := range strings.FieldsSeq(input.AttrOr("aria-describedby", "")) {
		message += doc.Find("#" + id).Text()
	}
	if !strings.Contains(message, text) {
		t.Errorf("%s says %q, want %q", field, message, text)
	}
}
