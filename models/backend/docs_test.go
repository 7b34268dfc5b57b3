package backend_test

import (
	"regexp"
	"testing"

	"blockconsole/models/doctest"
)

func TestDocs(t *testing.T) { doctest.Check(t, ".", regexp.MustCompile(`\bCode[A-Z]\w+`)) }
