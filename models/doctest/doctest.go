// Package doctest checks doc comments, for tests: packages ask it that exported
// declarations name their errors and units.
package doctest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// NoErrors is the phrase for a method whose errors are all those that it was given.
const NoErrors = "Errors: none of its own"

// Errors matches the errors of package models and of the packages above it: a code, a
// variable, a type, or the standard phrases for those of the database and of the port.
var Errors = regexp.MustCompile(`\b(Code|Err)[A-Z]\w+|\*(\w+\.)?\w+Error\b|\bthose of the (database|port)\b`)

var (
	timeName = regexp.MustCompile(`(At|Age|Interval|Timeout|Backoff)$`)
	unitName = regexp.MustCompile(`(?i)gib|bytes|percent|micros|count`)
	unitWord = regexp.MustCompile(`(?i)\b(gib|bytes?|percent|[0-9]+ to [0-9]+|units?|microseconds|seconds?|objects?|rows?|how (many|often)|(sequence|version|a) numbers?|number of)\b`)
	// microName are integer times of a type whose comment says that its times are Unix microseconds.
	microName = regexp.MustCompile(`(At|Until|Since)$`)
)

const microsPhrase = "Times are Unix microseconds"

// Check reports what the exported declarations of the package in dir leave out of their
// doc comments. The comment of a function, method or type begins with its name. A function
// or method that returns an error names its errors: a match of errorNames, or [NoErrors].
// Every integer, time and duration among parameters and fields has its unit or meaning in
// its name or comment. Tests are not checked.
func Check(t *testing.T, dir string, errorNames *regexp.Regexp) {
	t.Helper()
	missing, err := missingDocs(dir, errorNames)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range missing {
		t.Error(m)
	}
}

func missingDocs(dir string, errorNames *regexp.Regexp) ([]string, error) {
	d := docs{set: token.NewFileSet(), errorNames: errorNames}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		src, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err == nil {
			err = d.file(e.Name(), src)
		}
		if err != nil {
			return nil, err
		}
	}
	return d.missing, nil
}

type docs struct {
	set        *token.FileSet
	errorNames *regexp.Regexp
	missing    []string
}

func (d *docs) miss(at ast.Node, format string, args ...any) {
	d.missing = append(d.missing, fmt.Sprintf("%v: ", d.set.Position(at.Pos()))+fmt.Sprintf(format, args...))
}

func (d *docs) file(name string, src []byte) error {
	f, err := parser.ParseFile(d.set, name, src, parser.ParseComments)
	if err != nil {
		return err
	}
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Name.IsExported() && exportedReceiver(decl) {
				d.beginning(decl.Name, decl.Doc.Text())
				d.function(decl.Name.Name, decl.Type, decl.Doc.Text())
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok && t.Name.IsExported() {
					d.beginning(t.Name, cmp.Or(t.Doc.Text(), decl.Doc.Text()))
					d.typ(t, t.Doc.Text()+decl.Doc.Text())
				}
			}
		}
	}
	return nil
}

// standard are methods of interfaces of the standard library: their contracts are known.
var standard = []string{"Error", "Unwrap", "Is", "String"}

// beginning checks that a comment begins with the name, of one of several at least.
func (d *docs) beginning(name *ast.Ident, doc string) {
	first, _, _ := strings.Cut(doc, " ")
	for _, article := range []string{"A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(doc, article); ok {
			first, _, _ = strings.Cut(rest, " ")
		}
	}
	if strings.TrimRight(first, ",:.") != name.Name && !slices.Contains(standard, name.Name) {
		d.miss(name, "the comment of %s does not begin with its name", name.Name)
	}
}

func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	name, ok := t.(*ast.Ident)
	return ok && name.IsExported()
}

func (d *docs) typ(t *ast.TypeSpec, doc string) {
	switch of := t.Type.(type) {
	case *ast.InterfaceType:
		shared := "" // the comment of «A and B» is above A
		for _, m := range of.Methods.List {
			if f, ok := m.Type.(*ast.FuncType); ok {
				if m.Doc != nil {
					shared = m.Doc.Text()
				} else if !mentions(shared, m.Names[0].Name) {
					shared = ""
				}
				d.function(m.Names[0].Name, f, shared)
			}
		}
	case *ast.StructType:
		for _, field := range of.Fields.List {
			d.units(field, doc, field.Doc.Text()+field.Comment.Text(), true)
		}
	}
}

func (d *docs) function(name string, f *ast.FuncType, doc string) {
	doc = strings.Join(strings.Fields(doc), " ")
	if returnsError(f) && !d.errorNames.MatchString(doc) && !strings.Contains(doc, NoErrors) {
		d.miss(f, "%s names none of its errors", name)
	}
	for _, p := range f.Params.List {
		d.units(p, doc, "", false)
	}
}

func returnsError(f *ast.FuncType) bool {
	return f.Results != nil && slices.ContainsFunc(f.Results.List, func(r *ast.Field) bool {
		name, ok := r.Type.(*ast.Ident)
		return ok && name.Name == "error"
	})
}

// units checks a field or parameter: its own comment, else a sentence of doc that
// mentions it, has the unit.
func (d *docs) units(field *ast.Field, doc, own string, exportedOnly bool) {
	number, clock := kindOf(field.Type)
	for _, name := range field.Names {
		if exportedOnly && !name.IsExported() {
			continue
		}
		text := own
		if number && exportedOnly && microName.MatchString(name.Name) && strings.Contains(doc, microsPhrase) {
			continue
		}
		for sentence := range strings.SplitSeq(doc, ". ") {
			if mentions(sentence, name.Name) {
				text += sentence
			}
		}
		switch {
		case number && !unitName.MatchString(name.Name) && !unitWord.MatchString(text):
			d.miss(name, "%s has no unit", name.Name)
		case clock && !timeName.MatchString(name.Name) && text == "":
			d.miss(name, "%s does not say what time it is", name.Name)
		}
	}
}

// kindOf says whether a type is an integer, or a time or duration; of slices and
// pointers it is their elements.
func kindOf(t ast.Expr) (number, clock bool) {
	switch t := t.(type) {
	case *ast.StarExpr:
		return kindOf(t.X)
	case *ast.ArrayType:
		return kindOf(t.Elt)
	case *ast.Ident:
		return slices.Contains([]string{"int", "int32", "int64", "uint", "uint32", "uint64"}, t.Name), false
	case *ast.SelectorExpr:
		of, ok := t.X.(*ast.Ident)
		return false, ok && of.Name == "time" && (t.Sel.Name == "Time" || t.Sel.Name == "Duration")
	}
	return false, false
}

func mentions(text, name string) bool {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(name) + `\b`).MatchString(text)
}
