package backend_test

import (
	"regexp"
	"testing"

	"blockconsole/models/backend/backendtest"
)

func TestPortDocs(t *testing.T) {
	missing, err := backendtest.MissingDocs(".", regexp.MustCompile(`\bCode[A-Z]\w+`))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missing {
		t.Error(m)
	}
}
