package mirror

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views/i18n"
)

// codes are all codes of the port.
var codes = []backend.Code{backend.CodeNotFound, backend.CodeUnsupported, backend.CodeConflict, backend.CodeBusy, backend.CodeQuota, backend.CodeInvalid,
	backend.CodeForbidden, backend.CodeNoSpace, backend.CodeFault, backend.CodeSlow, backend.CodeReported, backend.CodeUnavailable}

// everyError is one error of each kind that a backend can return.
func everyError() []*backend.Error {
	const text = "untranslated words of a driver"
	var all []*backend.Error
	for _, code := range codes {
		e := backend.Error{Code: code, Message: text, Field: "size_gib", What: "gigabytes", Role: "admin", Path: "/srv/data", Need: 1, Free: 0}
		all = append(all, &e)
		causes := backend.DiskCauses()
		if code == backend.CodeUnavailable {
			causes = []backend.Cause{backend.Credentials, backend.Token, backend.TooMany, backend.Certificate, backend.Clock, backend.TooManyFiles}
		}
		if slices.Contains([]backend.Code{backend.CodeFault, backend.CodeNoSpace, backend.CodeUnavailable}, code) {
			for _, cause := range causes {
				with := e
				with.Cause = cause
				all = append(all, &with)
			}
		}
		if code == backend.CodeConflict || code == backend.CodeInvalid {
			for _, why := range backend.Whys() {
				with := e
				with.Why, with.WhyArg = why, "7"
				all = append(all, &with)
			}
		}
	}
	for _, op := range []string{"read", "write", "flush", "trim", "zero", "status", "cache", "open", "files"} {
		all = append(all, &backend.Error{Code: backend.CodeFault, Op: op, Cause: backend.DiskError, Path: "/srv/data"})
	}
	for _, damage := range []backend.Damage{backend.BadBlocks, backend.BadChecksums} {
		for _, of := range []string{"", "snap-1"} {
			all = append(all, &backend.Error{Code: backend.CodeDamaged, Damage: damage, Path: "/srv/data", Blocks: []int64{7, 9}, Bad: 100, BlockBytes: 4 << 20, Want: 1 << 30, Of: of})
		}
	}
	return all
}

var (
	quoted    = regexp.MustCompile(`«[^»]*»`)
	sentences = regexp.MustCompile(`[A-Za-z]+ [a-z]+ [a-z]+`)
)

// TestFailureOf_EveryError: every error of every backend is a sentence of both catalogs.
// The words of a cloud, which nobody can translate, stand in quotation marks.
func TestFailureOf_EveryError(t *testing.T) {
	t.Parallel()
	for _, e := range everyError() {
		for how, convert := range map[string]func(error) models.Failure{"operation": FailureOf, "in use": diskFailure} {
			f := convert(e)
			if !i18n.Has(f.Key) {
				t.Errorf("%s, %+v: there is no text %q", how, *e, f.Key)
				continue
			}
			args := make([]any, len(f.Args))
			for i, arg := range f.Args {
				args[i] = arg
			}
			for _, lang := range i18n.Langs {
				text := i18n.T(i18n.WithLang(context.Background(), lang), f.Key, args...)
				own := quoted.ReplaceAllString(text, "")
				switch {
				case strings.Contains(own, "untranslated") || strings.Contains(text, "%!") || strings.Contains(text, "{"):
					t.Errorf("%s %s: %q", lang, f.Key, text)
				case lang == i18n.Korean && sentences.MatchString(own):
					t.Errorf("English in the Korean of %s: %q", f.Key, text)
				}
			}
		}
	}
}

// TestErrors_HaveReasons: what our own code refuses has a reason that the catalogs know;
// only what a cloud wrote has none.
func TestErrors_HaveReasons(t *testing.T) {
	t.Parallel()
	found := 0
	for _, folder := range []string{"local", "openstack"} {
		files, err := filepath.Glob(filepath.Join("..", "backend", folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, source, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				literal, ok := n.(*ast.CompositeLit)
				if !ok {
					return true
				}
				text := string(source[literal.Pos()-1 : literal.End()-1])
				ours := strings.HasPrefix(text, "backend.Error{") && strings.Contains(text, `Message:`) &&
					!strings.Contains(text, "p.text") && !strings.Contains(text, "m.Text")
				if ours {
					found++
				}
				if ours && !strings.Contains(text, "Why:") {
					t.Errorf("%s: no reason: %s", set.Position(literal.Pos()), text)
				}
				return true
			})
		}
	}
	if found < 20 {
		t.Errorf("only %d refusals were found", found)
	}
}
