package web

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "blockconsole"

// arrows are the imports of our own packages that the design allows.
var arrows = map[string][]string{
	"":                         {"web/app"},
	"web/app":                  anything,
	"web":                      {"web/config", "web/admission", "handlers", "handlers/typed", "models", "models/backend", "models/store", "views", "views/i18n", "static"},
	"web/config":               {"models"},
	"web/admission":            {},
	"handlers":                 {"handlers/spreadsheet", "handlers/typed", "models", "views", "views/i18n"},
	"handlers/spreadsheet":     {},
	"handlers/typed":           {},
	"views":                    {"views/i18n", "static"},
	"views/i18n":               {},
	"static":                   {},
	"models":                   {"models/backend"},
	"models/reserve":           {"models/backend"},
	"models/store":             {"models", "models/backend", "models/reserve"},
	"models/store/storetest":   {"models", "models/store"},
	"models/backend":           {},
	"models/mirror":            {"models", "models/store", "models/backend"},
	"models/worker":            {"models", "models/store", "models/mirror", "models/backend"},
	"models/backend/local":     {"models/backend", "models/backend/local/blockcopy", "models/backend/local/nbd", "models/backend/local/checksum", "models/backend/local/imageformat", "models/reserve"},
	"models/backend/local/nbd": {},
	"models/backend/openstack": {"models/backend"},

	"models/backend/local/imageformat": {},
	"models/backend/local/blockcopy":   {"models/reserve"},
	"models/backend/local/checksum":    {},
}

// anything is allowed to the wiring.
var anything = []string{"*"}

// homes are the packages that an outside module may be imported in.
var homes = map[string][]string{
	"github.com/labstack/echo":           {"web", "handlers"},
	"gorm.io":                            {"models/store"},
	"modernc.org":                        {"models/store"},
	"github.com/gophercloud":             {"models/backend/openstack"},
	"github.com/prometheus":              {"web", "web/app"},
	"github.com/a-h/templ":               {"views", "handlers", "web"},
	"golang.org/x/crypto":                {"models"},
	"github.com/go-gormigrate":           {"models/store"},
	"golang.org/x/text":                  {"views/i18n", "models"}, // languages; how names are compared
	"golang.org/x/net":                   {"handlers/typed"},
	"go.mau.fi/util":                     {"models"},
	"github.com/trustelem/zxcvbn":        {"models"},
	"github.com/PuerkitoBio/goquery":     {},
	"github.com/chromedp":                {},
	"github.com/hashicorp/golang-lru":    {"handlers"},
	"github.com/jackc/pgx":               {"models/store", "models/store/storetest"},
	"github.com/stretchr":                {},
	"github.com/gophercloud/gophercloud": {"models/backend/openstack"},
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

func TestImportsFollowTheArrows(t *testing.T) {
	command := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	command.Dir = ".."
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	seen := 0
	for {
		var p listedPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		// The conformance suite and the fake are there for tests of everybody.
		testOnly := strings.HasSuffix(name, "test")
		allowed, known := arrows[name]
		if !known && !testOnly {
			t.Errorf("package %s has no arrows: the layout does not know it", name)
		}
		for _, imported := range p.Imports {
			checkImport(t, name, imported, allowed, testOnly)
		}
		for _, part := range strings.Split(name, "/") {
			if slices.Contains([]string{"utils", "util", "common", "services", "pkg", "internal", "helpers"}, part) {
				t.Errorf("package %s: its name says nothing", name)
			}
		}
	}
	if seen < 8 {
		t.Errorf("only %d packages seen", seen)
	}
}

func checkImport(t *testing.T, name, imported string, allowed []string, testOnly bool) {
	t.Helper()
	if testOnly {
		return
	}
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		if !slices.Contains(allowed, own) && !slices.Equal(allowed, anything) || strings.HasSuffix(own, "test") {
			t.Errorf("%s imports %s", name, own)
		}
		return
	}
	for outside, at := range homes {
		if (imported == outside || strings.HasPrefix(imported, outside+"/")) && !slices.Contains(at, name) {
			t.Errorf("%s imports %s, which belongs in %v", name, imported, at)
		}
	}
}

func TestTopLevel(t *testing.T) {
	allowed := []string{"web", "views", "handlers", "models", "static", "main.go", "go.mod", "go.sum", "README.md", "LICENSE", "docs", ".ci", ".git", ".gitignore", ".gitattributes"}
	command := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard")
	command.Dir = ".."
	out, err := command.Output()
	if err != nil {
		t.Skip("not a git checkout")
	}
	for line := range strings.Lines(string(out)) {
		top, _, _ := strings.Cut(strings.TrimSpace(line), "/")
		if !slices.Contains(allowed, top) {
			t.Errorf("%s stands at the top level", top)
		}
	}
}

// checkClock: whoever asks the wall clock cannot be tested by a clock that is set.
// A connection's deadline is the exception: the kernel has no other clock.
func checkClock(t *testing.T, path, text string) {
	t.Helper()
	for i, line := range strings.Split(text, "\n") {
		if strings.Contains(line, "time.Now()") && !strings.Contains(line, "Deadline(time.Now()") && !strings.Contains(filepath.Dir(path), "test") {
			t.Errorf("%s:%d asks the wall clock: use the clock that is given", path, i+1)
		}
	}
}

// Limits that keep a screen's worth of thought in one place.
const (
	longestFile     = 450
	longestFunction = 60
)

func TestFilesAndFunctionsAreShort(t *testing.T) {
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "node_modules" || entry.Name() == "data") {
			return fs.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_templ.go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		return checkLengths(t, path)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkLengths(t *testing.T, path string) error {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	checkClock(t, path, string(text))
	if lines := strings.Count(string(text), "\n"); lines > longestFile {
		t.Errorf("%s has %d lines, more than %d", path, lines, longestFile)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, declared := range file.Decls {
		fn, ok := declared.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		if lines := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1; lines > longestFunction {
			t.Errorf("%s: %s has %d lines, more than %d", path, fn.Name.Name, lines, longestFunction)
		}
	}
	return nil
}
