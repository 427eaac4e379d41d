package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// build is a package's test binary with its mutants in it.
type build struct {
	target  target
	root    string // of the repository
	overlay map[string]string
	work    string // a folder of our own
	tmp     string // the workers' folders begin with it
	binary  string
	all     []*mutant
	mutants []*mutant // those to run
}

// prepare finds the mutants of a target.
func prepare(ctx context.Context, root, dir string, t target) (*build, error) {
	work := filepath.Join(dir, "build", filepath.FromSlash(t.dir))
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	b := &build{target: t, root: root, work: work, tmp: filepath.Join(dir, "t"), binary: filepath.Join(work, "mutants.test")}
	p, err := b.load(ctx)
	if err != nil {
		return nil, err
	}
	if b.overlay, err = b.instrument(p); err != nil {
		return nil, err
	}
	if err := b.findLua(b.overlay); err != nil {
		return nil, err
	}
	number(b.all)
	b.mutants = b.all
	return b, nil
}

// loaded is a package with its types.
type loaded struct {
	name    string
	fset    *token.FileSet
	files   map[string]*ast.File // by base name
	sources map[string]string
	imports types.Importer
	path    string
}

// load reads the package and asks the go command where the types of what it
// imports are.
func (b *build) load(ctx context.Context) (*loaded, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-e", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{.Dir}}\t{{join .GoFiles \" \"}}", "./"+b.target.dir, "os", "strconv", "sync/atomic", "syscall") // those of the helper, too
	cmd.Dir = b.root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	var own []string
	for line := range strings.Lines(string(out)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		exports[cells[0]] = cells[1]
		if cells[2] == filepath.Join(b.root, b.target.dir) {
			own = cells
		}
	}
	if own == nil {
		return nil, errors.New("no such package; mend the table of targets")
	}
	p := &loaded{fset: token.NewFileSet(), files: map[string]*ast.File{}, sources: map[string]string{}, path: own[0]}
	p.imports = importer.ForCompiler(p.fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	for _, name := range strings.Fields(own[3]) {
		text, err := os.ReadFile(filepath.Join(own[2], name))
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(p.fset, filepath.Join(own[2], name), text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.files[name], p.sources[name], p.name = f, string(text), f.Name.Name
	}
	return p, nil
}

// instrument writes the files with their mutants and returns where they are,
// by the name of the file they stand for.
func (b *build) instrument(p *loaded) (map[string]string, error) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Implicits: map[ast.Node]types.Object{}}
	config := types.Config{Importer: p.imports}
	var files []*ast.File
	for _, name := range sorted(p.files) {
		files = append(files, p.files[name])
	}
	pkg, err := config.Check(p.path, p.fset, files, info)
	if err != nil {
		return nil, err
	}
	points := map[string][]*point{}
	for _, name := range b.target.files {
		if path.Ext(name) != ".go" {
			continue
		}
		file := p.files[name]
		if file == nil {
			return nil, fmt.Errorf("no file %s; mend the table of targets", name)
		}
		f := finder{fset: p.fset, info: info, pkg: pkg, src: p.sources[name], name: path.Join(b.target.dir, name)}
		f.file(file)
		points[name] = f.points
	}
	texts, err := b.settle(p, points)
	if err != nil {
		return nil, err
	}
	overlay := map[string]string{}
	for _, name := range sorted(texts) {
		at := filepath.Join(b.work, name)
		if err := os.WriteFile(at, []byte(texts[name]), 0o600); err != nil {
			return nil, err
		}
		overlay[filepath.Join(b.root, b.target.dir, name)] = at
	}
	return overlay, nil
}

// settle numbers the mutants and drops those that are no Go, until the type
// checker is content.
func (b *build) settle(p *loaded, points map[string][]*point) (map[string]string, error) {
	const helperName = "aig_mutants.go"
	for range 20 {
		b.all = nil
		for _, name := range b.target.files {
			slices.SortStableFunc(points[name], func(a, b *point) int { return a.start - b.start })
			for _, pt := range points[name] {
				if pt.dropped {
					continue
				}
				for _, m := range pt.alts {
					m.id = len(b.all) + 1
					b.all = append(b.all, m)
				}
			}
		}
		texts, spans := map[string]string{helperName: fmt.Sprintf(helper, p.name, len(b.all)+1)}, map[string][]span{}
		for name, list := range points {
			texts[name], spans[name] = render(p.sources[name], list)
		}
		errs := p.check(texts)
		if len(errs) == 0 {
			return texts, nil
		}
		dropped := false
		for _, e := range errs {
			if drop(spans[filepath.Base(e.Fset.Position(e.Pos).Filename)], offsetOf(e)) {
				dropped = true
			}
		}
		if !dropped {
			return nil, fmt.Errorf("the mutated package is no Go: %w", errs[0])
		}
	}
	return nil, errors.New("the mutated package is no Go, whatever is left out")
}

// check type-checks the package with some files replaced.
func (p *loaded) check(texts map[string]string) []types.Error {
	var errs []types.Error
	var files []*ast.File
	for _, name := range sorted(p.files) {
		if _, replaced := texts[name]; !replaced {
			files = append(files, p.files[name])
		}
	}
	for _, name := range sorted(texts) {
		f, err := parser.ParseFile(p.fset, name, texts[name], parser.SkipObjectResolution)
		if err != nil {
			panic(err.Error() + "\n" + texts[name]) // the renderer's own fault
		}
		files = append(files, f)
	}
	config := types.Config{Importer: p.imports, Error: func(err error) {
		var e types.Error
		if errors.As(err, &e) && !e.Soft {
			errs = append(errs, e)
		}
	}}
	_, _ = config.Check(p.path, p.fset, files, nil) // the errors are collected
	return errs
}

// compile builds the test binary.
func (b *build) compile(ctx context.Context) error {
	text, err := json.Marshal(map[string]any{"Replace": b.overlay})
	if err != nil {
		return err
	}
	file := filepath.Join(b.work, "overlay.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", file, "-o", b.binary, "./"+b.target.dir)
	cmd.Dir = b.root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the mutants: %w\n%s", err, out)
	}
	return nil
}

// sample leaves n mutants of each file to run, 0: all. Which ones, their keys
// decide, so that a change elsewhere in a file draws no others. Those that depend
// on one go with it.
func (b *build) sample(n int) {
	if n == 0 {
		return
	}
	draw := func(m *mutant) [32]byte {
		if m.finer != nil {
			m = m.finer
		}
		return sha256.Sum256([]byte(m.key()))
	}
	drawn := map[string][][32]byte{} // by file
	for _, m := range b.all {
		if m.finer == nil {
			drawn[m.file] = append(drawn[m.file], draw(m))
		}
	}
	for file, list := range drawn {
		slices.SortFunc(list, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
		drawn[file] = list[:min(n, len(list))]
	}
	b.mutants = slices.DeleteFunc(slices.Clone(b.all), func(m *mutant) bool { return !slices.Contains(drawn[m.file], draw(m)) })
}

func sorted[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
