package archtest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "ntpac"

// rule says which packages of ours the packages that match a pattern may import: the first rule whose
// pattern matches holds. Patterns are those of path.Match, and a final /... takes in everything below;
// "." is the root. Tests may import anything but programs.
type rule struct {
	pkg  string
	may  []string
	note string
}

var rules = []rule{
	{".", nil, "the vocabulary knows no stage"},
	{"packet", []string{"."}, "views of headers"},
	{"capture", []string{".", "packet", "internal/..."}, "a stage"},
	{"balancer", []string{".", "packet", "internal/..."}, "a stage"},
	{"reassembly", []string{".", "packet", "internal/..."}, "a stage"},
	{"selection", []string{".", "internal/..."}, "a stage"},
	{"artifact", []string{".", "internal/..."}, "what snoopers find"},
	{"store/...", []string{".", "store/...", "internal/..."}, "stores share the packages below store"},
	{"actor", []string{".", "internal/..."}, "knows no stage"},
	{"cluster", []string{".", "internal/..."}, "knows no stage"},
	{"snoop/all", []string{".", "snoop/*"}, "the list of snoopers"},
	{"snoop/snooptest", []string{".", "snoop", "artifact", "internal/..."}, "the kit for snoopers"},
	{"snoop", []string{".", "artifact", "internal/..."}, "knows snoopers by their interface only"},
	{"snoop/*", []string{".", "artifact", "internal/..."}, "a snooper knows no other one"},
	{"internal/...", []string{".", "packet", "artifact", "internal/..."}, "helpers of stages"},
	{"node", []string{".", "packet", "capture", "balancer", "reassembly", "selection", "artifact", "store/...", "snoop/...", "actor", "cluster", "internal/..."},
		"joins the stages"},
	{"api", []string{".", "selection", "artifact", "internal/..."}, "sees what is stored"},
	{"ui", []string{"."}, "files for the browser"},
	{"cmd/ntpac", []string{".", "node", "api", "ui", "selection", "artifact", "store", "capture", "reassembly", "snoop/all", "internal/..."},
		"puts the options of the command line together"},
	{"cmd/...", []string{"..."}, "programs beside the product"},
	{"bench/...", []string{"..."}, "measures all of it"},
	{"e2e/seeds", []string{"..."}, "makes inputs for the fuzz targets of all stages"},
	{"e2e/...", []string{".", "e2e/...", "bench/..."}, "sees the product from outside"},
}

// notImported are packages that no code outside of themselves may need.
var notImported = []string{"cmd/...", "e2e/...", "bench/..."}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func (p *pkg) name() string { return ours(p.ImportPath) }

// ours gives the name within the module, "." for the root; empty for foreign packages.
func ours(importPath string) string {
	if importPath == module {
		return "."
	}
	name, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return name
}

func match(pattern, name string) bool {
	if head, ok := strings.CutSuffix(pattern, "..."); ok {
		return head == "" || name == strings.TrimSuffix(head, "/") || strings.HasPrefix(name, head)
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// packages lists those of the module for one operating system.
func packages(t *testing.T, goos string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOOS="+goos)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// root is the folder of the module.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

var systems = []string{"linux", "darwin", "windows"}

// TestImports holds every package against its rule.
func TestImports(t *testing.T) {
	for _, goos := range systems {
		for _, p := range packages(t, goos) {
			i := slices.IndexFunc(rules, func(r rule) bool { return match(r.pkg, p.name()) })
			if i < 0 {
				t.Errorf("%s has no rule: add one to archtest and say what it may import", p.name())
				continue
			}
			r := rules[i]
			for _, imp := range p.Imports {
				if name := ours(imp); name != "" && !slices.ContainsFunc(r.may, func(m string) bool { return match(m, name) }) {
					t.Errorf("%s imports %s on %s, but may import only %s (%s)", p.name(), name, goos, strings.Join(r.may, ", "), r.note)
				}
			}
			for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
				for _, n := range notImported {
					if name := ours(imp); name != "" && match(n, name) && !matchesAny(notImported, p.name()) {
						t.Errorf("%s imports %s, which is a program or a test of the whole", p.name(), name)
					}
				}
			}
		}
	}
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// TestRootIsStandard proves that the vocabulary needs nothing but the standard library.
func TestRootIsStandard(t *testing.T) {
	for _, p := range packages(t, "linux") {
		if p.name() != "." {
			continue
		}
		for _, imp := range p.Imports {
			if ours(imp) != "" || isForeign(imp) {
				t.Errorf("the root imports %s", imp)
			}
		}
	}
}

// isForeign reports whether an import is neither ours nor of the standard library.
func isForeign(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return ours(imp) == "" && strings.Contains(first, ".")
}

// TestDependencies compares the foreign imports with docs/dependencies.md.
func TestDependencies(t *testing.T) {
	listed := dependencies(t)
	modules := requirements(t)
	used := map[string]map[string]bool{} // module to folders; "tests" for tests
	note := func(imp, folder string) {
		m := moduleOf(imp, modules)
		if m == "" {
			t.Errorf("%s imports %s, which no requirement in go.mod gives", folder, imp)
			return
		}
		if used[m] == nil {
			used[m] = map[string]bool{}
		}
		used[m][folder] = true
	}
	exists := map[string]bool{"tests": true}
	for _, goos := range systems {
		for _, p := range packages(t, goos) {
			exists[p.name()] = true
			folder := p.name()
			if isKit(folder) {
				folder = "tests"
			}
			for _, imp := range p.Imports {
				if isForeign(imp) {
					note(imp, folder)
				}
			}
			for _, imp := range slices.Concat(p.TestImports, p.XTestImports) {
				if isForeign(imp) {
					note(imp, "tests")
				}
			}
		}
	}
	for m, folders := range used {
		line, ok := listed[m]
		if !ok {
			t.Errorf("%s is imported by %v and missing in docs/dependencies.md", m, keys(folders))
			continue
		}
		for f := range folders {
			if f != "tests" && !slices.Contains(line, f) {
				t.Errorf("%s is imported by %s, which docs/dependencies.md does not say", m, f)
			}
		}
		for _, f := range line {
			if exists[f] && !folders[f] {
				t.Errorf("%s is not imported by %s, as docs/dependencies.md says", m, f)
			}
		}
	}
	for m := range listed {
		if used[m] == nil && !slices.Contains(modules, m) {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not require", m)
		}
	}
}

// isKit reports whether a package is there for tests and measurements only.
func isKit(name string) bool {
	return strings.HasSuffix(name, "test") || match("bench/...", name) || match("e2e/...", name)
}

func keys(m map[string]bool) (out []string) {
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// dependencies reads the table: module to the folders that may import it.
func dependencies(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(root(t), "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string][]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		cells := strings.Split(s.Text(), "|")
		if len(cells) != 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
			if cells[i] == "" && i > 0 && i < 5 {
				t.Errorf("an empty cell in %q", s.Text())
			}
		}
		out[strings.Trim(cells[1], "`")] = strings.Split(cells[3], ", ")
	}
	if len(out) == 0 {
		t.Fatal("docs/dependencies.md has no table")
	}
	return out
}

// requirements lists the direct requirements of go.mod.
func requirements(t *testing.T) (out []string) {
	t.Helper()
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = root(t)
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(b, &mod); err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if !r.Indirect {
			out = append(out, r.Path)
		}
	}
	return out
}

// moduleOf finds the module that gives a package: the longest path that is a prefix.
func moduleOf(imp string, modules []string) (best string) {
	for _, m := range modules {
		if (imp == m || strings.HasPrefix(imp, m+"/")) && len(m) > len(best) {
			best = m
		}
	}
	return best
}

// TestMatch pins down how patterns are read.
func TestMatch(t *testing.T) {
	for _, x := range []struct {
		pattern, name string
		want          bool
	}{
		{"...", "anything/at/all", true}, {"snoop/...", "snoop", true}, {"snoop/...", "snoop/dns", true}, {"snoop/...", "snooper", false},
		{"snoop/*", "snoop/dns", true}, {"snoop/*", "snoop", false}, {"snoop/*", "snoop/dns/x", false}, {".", ".", true}, {".", "x", false},
	} {
		if match(x.pattern, x.name) != x.want {
			t.Errorf("%s and %s", x.pattern, x.name)
		}
	}
}
