package main

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
	"testing"
)

// TestTypes makes seeds of the sample, and holds their types against those that the targets take: the
// fuzzer passes over an input of other types without a word.
func TestTypes(t *testing.T) {
	dir := t.TempDir()
	if err := run([]string{"../../testdata/tour.pcap"}, dir, 5); err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, depth := range []string{"Fuzz*", "*/Fuzz*", "*/*/Fuzz*"} {
		some, err := filepath.Glob(filepath.Join(dir, "ntpac", depth))
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, some...)
	}
	seen := 0
	for _, f := range folders {
		name := filepath.Base(f)
		pkg, err := filepath.Rel(filepath.Join(dir, "ntpac"), filepath.Dir(f))
		if err != nil {
			t.Fatal(err)
		}
		want := targetTypes(t, filepath.Join("../..", pkg), name)
		inputs, err := os.ReadDir(f)
		if err != nil || len(inputs) == 0 || len(inputs) > 5 {
			t.Fatalf("%s: %d inputs, %v", f, len(inputs), err)
		}
		for _, in := range inputs {
			b, err := os.ReadFile(filepath.Join(f, in.Name()))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range regexp.MustCompile(`(?m)^(\[?\]?\w+)\(`).FindAllSubmatch(b, -1) {
				got = append(got, strings.Replace(string(m[1]), "byte", "uint8", 1))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s/%s: seeds of %v, the target takes %v", pkg, name, got, want)
			}
		}
		seen++
	}
	if seen < 15 {
		t.Errorf("seeds for %d targets only", seen)
	}
}

// targetTypes reads the types of a target's arguments from its source: those of the function given to
// f.Fuzz. Targets that share one written elsewhere take bytes.
func targetTypes(t *testing.T, folder, name string) (types []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Name.Name != name {
				continue
			}
			types = []string{"[]uint8"}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) != 1 {
					return true
				}
				lit, ok := call.Args[0].(*ast.FuncLit)
				if sel, is := call.Fun.(*ast.SelectorExpr); !ok || !is || sel.Sel.Name != "Fuzz" {
					return true
				}
				types = nil
				for _, p := range lit.Type.Params.List[1:] {
					for range p.Names {
						types = append(types, typeName(p.Type))
					}
				}
				return false
			})
			return types
		}
	}
	t.Errorf("%s has no target %s", folder, name)
	return nil
}

func typeName(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.ArrayType:
		return "[]" + typeName(x.Elt)
	case *ast.Ident:
		return strings.Replace(x.Name, "byte", "uint8", 1)
	}
	return fmt.Sprintf("%T", e)
}
