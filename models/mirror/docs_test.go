package mirror_test

import (
	"testing"

	"blockconsole/models/doctest"
)

func TestDocs(t *testing.T) { doctest.Check(t, ".", doctest.Errors) }
