package aigateway_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "aigateway"

// layer is one row of "Who may import whom" in ARCHITECTURE.md.
type layer struct {
	// pkg is the folder; "x/..." stands for x and every folder below it.
	pkg string
	// imports of ours that production code of pkg may have.
	imports []string
	// never are outside imports it may not have, by path prefix. The word
	// std forbids everything but the standard library.
	never []string
	// why is the sentence to read when the row is broken.
	why string
	// tests holds the row's test files to it as well.
	tests bool
}

var (
	grpcTypes  = []string{"google.golang.org/grpc"}
	protoTypes = []string{"google.golang.org/protobuf", "google.golang.org/grpc", "google.golang.org/genproto"}
	envoyTypes = []string{"github.com/envoyproxy"}
	network    = []string{"net", "net/http", "net/url"}
	store      = []string{"database/sql", "modernc.org"}
	logging    = []string{"log", "log/slog"}
)

var layers = []layer{
	{pkg: "budget", imports: nil, never: join([]string{"std", "os", "io/fs"}, network, store, logging),
		why: "budget holds values and pure rules: no protobuf, gRPC, HTTP, SQL, logging or clock"},
	{pkg: "strictyaml", imports: nil, never: join([]string{"os", "io/fs"}, protoTypes, envoyTypes, network, store, logging),
		why: "strictyaml reads text: it knows no file, no key and no price"},
	{pkg: "pricing", imports: []string{"budget", "strictyaml"}, never: join([]string{"os", "io/fs", "encoding/json"}, protoTypes, envoyTypes, network, store, logging),
		why: "pricing is pure arithmetic on a body and a price row: no I/O, network, clock or protobuf, and no lenient JSON"},
	{pkg: "wheel", imports: nil, never: join(protoTypes, envoyTypes, network, store, logging),
		why: "wheel gets pinned files from Python packages: it knows none of them"},
	{pkg: "envoy", imports: []string{"wheel"}, never: join(grpcTypes, store),
		why: "envoy is what we and Envoy agree on: no gRPC servers and no budget rules"},
	{pkg: "envoy/wire", imports: []string{"envoy"}, never: store,
		why: "wire is the bytes between Envoy and us: it decides nothing, so it knows no budgets, prices or ledger"},
	{pkg: "metricset", imports: nil, never: join(protoTypes, envoyTypes, network, store, logging),
		why: "metricset registers metrics: it knows none of them"},
	{pkg: "apierror", imports: []string{"budget"}, never: join(grpcTypes, envoyTypes, store),
		why: "apierror turns a domain error into bytes: no gRPC servers, no Envoy types"},
	{pkg: "ledger", imports: []string{"budget", "metricset"}, never: join(protoTypes, envoyTypes, []string{"net/http"}),
		why: "the ledger knows amounts, not prices, API types or Envoy"},
	{pkg: "extauthz", imports: []string{"apierror", "budget", "envoy", "envoy/wire", "metricset", "pricing"}, never: store,
		why: "extauthz declares the Authenticator and Reserver it needs; the ledger and the API stay out of it"},
	{pkg: "accounting", imports: []string{"budget", "envoy", "envoy/wire", "metricset", "pricing"}, never: store,
		why: "accounting declares the Settler it needs; the ledger and the API stay out of it"},
	{pkg: "telemetry", imports: []string{"budget", "metricset", "pricing"}, never: join(protoTypes[:1], envoyTypes, store),
		why: "telemetry is told what it sends: it knows no ledger, no request and no Envoy"},
	{pkg: "adminapi", imports: []string{"api/gen/...", "apierror", "budget", "metricset", "pricing"}, never: join(envoyTypes, store),
		why: "adminapi declares the reader and writer it needs; the ledger and Envoy stay out of it"},
	{pkg: "webui", imports: []string{"apierror", "budget"}, never: join(protoTypes, envoyTypes, store, logging),
		why: "webui serves files, sign-ins and what REST answers: it knows no report and no money"},
	{pkg: "gatewayconfig", imports: []string{"budget", "envoy", "metricset", "pricing", "strictyaml"}, never: store,
		why: "gatewayconfig turns a file into xDS and a catalog, which pricing builds: of budget it knows the names of rights and tags, and it knows no API"},
	{pkg: "fakeprovider", imports: nil, never: join(protoTypes, envoyTypes, store),
		why: "fakeprovider is an oracle: it must not share our mistakes, so it imports nothing of ours"},
	{pkg: "reconciliation", imports: []string{"budget", "pricing"}, never: join(protoTypes, envoyTypes, store, logging, []string{"os", "encoding/json"}),
		why: "reconciliation compares two sets of books: both come in as arguments, and the ledger and the API stay out of it"},
	{pkg: "pricedata", imports: []string{"budget", "pricing", "wheel"}, never: join(protoTypes, envoyTypes, []string{"net/http"}, logging),
		why: "pricedata turns published data into a prices file: the command line uses it, a running gateway never"},
	{pkg: "postgres", imports: []string{"budget"}, never: join(protoTypes, envoyTypes, []string{"net/http"}, store, logging),
		why: "postgres is the database that gateways may share: it knows pgx, and neither SQLite nor the ledger"},
	{pkg: "postgres/local", imports: []string{"wheel"}, never: join(protoTypes, envoyTypes, []string{"net/http"}, store, logging),
		why: "postgres/local runs a server for tests, the demo and the benchmark: it asks it nothing"},
	{pkg: "fleet", imports: []string{"budget", "metricset"}, never: join(protoTypes, envoyTypes, network, store),
		why: "fleet joins a ledger to a store: it knows neither's database, and declares what it needs of both"},
	{pkg: "cmd/aigateway", imports: []string{"accounting", "adminapi", "api/gen/...", "apierror", "budget", "envoy", "envoy/wire", "extauthz", "fakeprovider", "fleet", "gatewayconfig", "ledger", "metricset", "postgres", "postgres/local", "pricedata", "pricing", "reconciliation", "strictyaml", "telemetry", "webui"}, never: store,
		why: "the command wires everything together, but test support never ships in it"},
	{pkg: "api/gen/...", imports: []string{"api/gen/..."}, never: nil,
		why: "generated code knows only generated code"},
	{pkg: "e2e/...", imports: []string{"api/gen/...", "e2e/...", "envoy", "fakeprovider", "internal/...", "postgres/local"}, never: store, tests: true,
		why: "e2e drives the built binary from outside: what it knew of pricing or the ledger it could not check"},
	{pkg: "internal/...", imports: []string{"accounting", "adminapi", "api/gen/...", "apierror", "budget", "envoy", "envoy/wire", "extauthz", "fakeprovider", "gatewayconfig", "internal/...", "ledger", "postgres/local", "pricing", "wheel"}, never: nil,
		why: "internal holds test support and generators"},
}

// confined lists outside packages that belong in few places, whatever the rows
// say. internal and test files are free.
var confined = []struct {
	outside string
	in      []string
	why     string
}{
	{"github.com/aws", nil, "Envoy signs; AWS's own signer is for tests only"},
	{"github.com/yuin/gopher-lua", nil, "the Lua filter runs in Envoy; gopher-lua is for tests only"},
	{"testing", []string{"e2e/..."}, "test support belongs in test files or internal"},
	{"github.com/google/go-cmp", []string{"e2e/..."}, "test support belongs in test files or internal"},
	{"pgregory.net/rapid", nil, "test support belongs in test files or internal"},
	{"database/sql", []string{"ledger", "pricedata"}, "only the ledger has a database; pricedata reads one that is published"},
	{"modernc.org/sqlite", []string{"ledger", "pricedata"}, "only the ledger has a database; pricedata reads one that is published"},
	{"github.com/jackc", []string{"postgres"}, "only the package postgres speaks with a PostgreSQL"},
	{"go.opentelemetry.io", []string{"telemetry"}, "only the package telemetry speaks OTLP"},
	{"github.com/coreos/go-oidc", []string{"webui"}, "only the page signs people in"},
	{"golang.org/x/oauth2", []string{"webui"}, "only the page signs people in; Envoy gets providers' tokens"},
	{"github.com/spf13", []string{"cmd/aigateway"}, "only the command has a command line"},
	{"github.com/envoyproxy", []string{"envoy", "envoy/wire", "extauthz", "accounting", "gatewayconfig", "cmd/aigateway", "e2e/..."}, "Envoy's types stop at the packages that speak with Envoy"},
	{"gopkg.in/yaml.v3", []string{}, "gopkg.in/yaml.v3 is abandoned; use go.yaml.in/yaml/v4"},
	{"github.com/golang/protobuf", []string{}, "github.com/golang/protobuf is superseded; use google.golang.org/protobuf"},
	{"log", []string{}, "log through the *slog.Logger that was passed in"},
}

func join(lists ...[]string) []string { return slices.Concat(lists...) }

// goFile is one Go file of the module.
type goFile struct {
	name    string // slash path from the module's root
	dir     string
	test    bool
	imports []string
}

func TestLayering(t *testing.T) {
	files := goFiles(t)
	t.Run("every package has a row", func(t *testing.T) {
		for _, dir := range dirs(files) {
			if rowOf(dir) == nil {
				t.Errorf("package %s has no row in layering_test.go: say what it may import, there and in ARCHITECTURE.md", dir)
			}
		}
	})
	t.Run("every row has a package", func(t *testing.T) {
		all := dirs(files)
		for _, l := range layers {
			if !slices.ContainsFunc(all, func(dir string) bool { return matches(l.pkg, dir) }) {
				t.Errorf("layering_test.go has a row for %s, but no Go file is there: remove the row, there and in ARCHITECTURE.md", l.pkg)
			}
		}
	})
	t.Run("imports keep to the rows", func(t *testing.T) {
		for _, f := range files {
			for _, problem := range problems(f) {
				t.Errorf("%s", problem)
			}
		}
	})
}

// TestLayeringCatches feeds the rules files that break them: a checker that
// never fails would look the same as a clean tree.
func TestLayeringCatches(t *testing.T) {
	for _, tc := range []struct {
		file goFile
		want string // in the sentence; empty: allowed
	}{
		{goFile{"ledger/a.go", "ledger", false, []string{"aigateway/budget", "database/sql"}}, ""},
		{goFile{"ledger/a.go", "ledger", false, []string{"aigateway/pricing"}}, "ledger/a.go imports aigateway/pricing"},
		{goFile{"ledger/a_test.go", "ledger", true, []string{"aigateway/pricing", "testing"}}, ""},
		{goFile{"e2e/a_test.go", "e2e", true, []string{"aigateway/pricing"}}, "e2e/a_test.go imports aigateway/pricing"},
		{goFile{"budget/a.go", "budget", false, []string{"google.golang.org/protobuf/proto"}}, "budget holds values"},
		{goFile{"budget/a.go", "budget", false, []string{"net/http"}}, "budget holds values"},
		{goFile{"budget/a.go", "budget", false, []string{"net/netip"}}, ""},
		{goFile{"pricing/a.go", "pricing", false, []string{"encoding/json"}}, "no lenient JSON"},
		{goFile{"envoy/a.go", "envoy", false, []string{"github.com/yuin/gopher-lua"}}, "for tests only"},
		{goFile{"envoy/a_test.go", "envoy", true, []string{"github.com/yuin/gopher-lua"}}, ""},
		{goFile{"adminapi/a.go", "adminapi", false, []string{"aigateway/api/gen/aigateway/v1"}}, ""},
		{goFile{"adminapi/a.go", "adminapi", false, []string{"modernc.org/sqlite"}}, "adminapi declares"},
		{goFile{"cmd/aigateway/a.go", "cmd/aigateway", false, []string{"aigateway/internal/envoytest"}}, "test support never ships"},
		{goFile{"fakeprovider/a.go", "fakeprovider", false, []string{"aigateway/budget"}}, "oracle"},
	} {
		got := strings.Join(problems(tc.file), "; ")
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) {
			t.Errorf("%s importing %v: got %q, want %q in it", tc.file.name, tc.file.imports, got, tc.want)
		}
	}
}

// TestArchitectureTable keeps the table people read equal to the one enforced.
func TestArchitectureTable(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > 110 {
		t.Errorf("ARCHITECTURE.md has %d lines; keep it to 110", n)
	}
	rows := map[string][]string{}
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		pkg := strings.Trim(cells[1], " `")
		rows[pkg] = []string{}
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			rows[pkg] = append(rows[pkg], m[1])
		}
	}
	for _, l := range layers {
		got, ok := rows[l.pkg]
		if !ok {
			t.Errorf("ARCHITECTURE.md has no row for %s", l.pkg)
			continue
		}
		delete(rows, l.pkg)
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(l.imports)); !slices.Equal(got, want) {
			t.Errorf("ARCHITECTURE.md says %s may import %v; layering_test.go says %v", l.pkg, got, want)
		}
	}
	for pkg := range rows {
		t.Errorf("ARCHITECTURE.md has a row for %s; layering_test.go has none", pkg)
	}
}

// problems are the sentences to read about one file.
func problems(f goFile) []string {
	row := rowOf(f.dir)
	if row == nil {
		return nil // reported once per package
	}
	var out []string
	say := func(imp, why string) {
		out = append(out, fmt.Sprintf("%s imports %s: %s (ARCHITECTURE.md, \"Who may import whom\")", f.name, imp, why))
	}
	free := f.test || matches("internal/...", f.dir)
	for _, imp := range f.imports {
		if ours, ok := strings.CutPrefix(imp, module+"/"); ok {
			if f.test && !row.tests || ours == f.dir {
				continue
			}
			if !slices.ContainsFunc(row.imports, func(p string) bool { return matches(p, ours) }) {
				say(imp, row.why)
			}
			continue
		}
		if f.test {
			continue
		}
		if slices.ContainsFunc(row.never, func(p string) bool { return outside(p, imp) }) {
			say(imp, row.why)
			continue
		}
		for _, c := range confined {
			if !free && outside(c.outside, imp) && !slices.ContainsFunc(c.in, func(p string) bool { return matches(p, f.dir) }) {
				say(imp, c.why)
			}
		}
	}
	return out
}

// rowOf returns the most exact row for a folder, or nil.
func rowOf(dir string) *layer {
	var best *layer
	for i := range layers {
		if l := &layers[i]; matches(l.pkg, dir) && (best == nil || len(l.pkg) > len(best.pkg)) {
			best = l
		}
	}
	return best
}

func matches(pattern, dir string) bool {
	root, ok := strings.CutSuffix(pattern, "/...")
	return dir == pattern || ok && (dir == root || strings.HasPrefix(dir, root+"/"))
}

// outside reports whether a forbidden name covers an import. A module covers
// what is below it; a package of the standard library only itself (net is
// not net/netip).
func outside(name, imp string) bool {
	standard := func(p string) bool { return !strings.Contains(strings.SplitN(p, "/", 2)[0], ".") }
	if name == "std" {
		return !standard(imp)
	}
	return imp == name || !standard(name) && strings.HasPrefix(imp, name+"/")
}

func dirs(files []goFile) []string {
	var out []string
	for _, f := range files {
		if f.dir != "." { // this file alone
			out = append(out, f.dir)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// goFiles reads the imports of every Go file of this module, build tags and
// all: a file for another system has to keep to the rows too.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(p)
		if d.IsDir() {
			return skipDir(name, d.Name())
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("parse %s: %w", name, err)
		}
		file := goFile{name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go")}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("parse %s: %w", name, err)
			}
			file.imports = append(file.imports, imp)
		}
		files = append(files, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func skipDir(name, base string) error {
	if name == "." {
		return nil
	}
	if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
		slices.Contains([]string{"testdata", "bin", "third_party", "node_modules"}, base) {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return fs.SkipDir // a module of its own
	}
	return nil
}
