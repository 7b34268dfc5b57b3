package web

import (
	"blockconsole/models"
	"net/http"
	"testing"
)

func TestStatusOf(t *testing.T) {
	t.Parallel()
	for _, code := range []models.Code{models.CodeNotFound, models.CodeInvalid, models.CodeConflict, models.CodeStale,
		models.CodeForbidden, models.CodeUnauthorized, models.CodeThrottled, models.CodeUnsupported} {
		if statusOf[code] < 400 || statusOf[code] > 499 {
			t.Errorf("%s has status %d", code, statusOf[code])
		}
	}
	if f := errorAnswerOf(&models.Error{Code: "new", Text: models.NewText("secret")}); f.status != http.StatusInternalServerError || f.text.Key == "secret" {
		t.Errorf("a code that the table does not have became %+v", f)
	}
}
