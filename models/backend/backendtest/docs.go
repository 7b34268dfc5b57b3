package backendtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// NoErrors is the phrase for a method whose errors are all those that it was given.
const NoErrors = "Errors: none of its own"

var (
	timeName = regexp.MustCompile(`(At|Age|Interval|Timeout|Backoff)$`)
	unitName = regexp.MustCompile(`(?i)gib|bytes|percent|micros|count`)
	unitWord = regexp.MustCompile(`(?i)\b(gib|bytes?|percent|[0-9]+ to [0-9]+|units?|microseconds|seconds?|objects?|rows?|how (many|often)|number of)\b`)
)

// MissingDocs lists what the exported declarations of a package leave out of their
// doc comments: a function or method that returns an error names its errors (a
// match of errorNames, or [NoErrors]); every integer, time and duration among
// parameters and fields has its unit or meaning in its name or comment. Test files are
// skipped.
func MissingDocs(dir string, errorNames *regexp.Regexp) ([]string, error) {
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
				d.function(decl.Name.Name, decl.Type, decl.Doc.Text())
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if t, ok := spec.(*ast.TypeSpec); ok && t.Name.IsExported() {
					d.typ(t, t.Doc.Text()+decl.Doc.Text())
				}
			}
		}
	}
	return nil
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
	if returnsError(f) && !d.errorNames.MatchString(doc) && !strings.Contains(strings.Join(strings.Fields(doc), " "), NoErrors) {
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
