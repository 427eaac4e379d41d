// Command generate makes api/gen and adminapi/openapi.json from api/**/*.proto.
//
//	go run ./internal/generate -install     put the pinned buf into bin/buf
//	go run ./internal/generate              regenerate
//	go run ./internal/generate -o DIR       regenerate below DIR instead
//	go run ./internal/generate -lint        only lint the protos
//	go run ./internal/generate -breaking REF  compare the API with REF's, such as main
//
// It runs from the root of the repository and needs the network only to install.
// The test of this package fails when what is committed is stale.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"aigateway/internal/openapi"
	"aigateway/internal/protodeps"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	out := flags.String("o", ".", "directory to generate below")
	install := flags.Bool("install", false, "install the pinned buf as bin/buf, unless it is there")
	lintOnly := flags.Bool("lint", false, "lint the protos instead of generating")
	ref := flags.String("breaking", "", "compare the API with this git revision instead of generating")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *install:
		return installBuf(ctx, bufPath, stdout)
	case *lintOnly:
		return lint(ctx)
	case *ref != "":
		return breaking(ctx, *ref, stdout)
	}
	return generate(ctx, *out)
}

// specPath is where the merged OpenAPI document goes: adminapi embeds it.
const specPath = "adminapi/openapi.json"

// lint checks the protos. It prints their dependencies first: those are ignored
// by git, and without them buf finds no imports.
func lint(ctx context.Context) error {
	if err := haveBuf(); err != nil {
		return err
	}
	if err := protodeps.Print("third_party"); err != nil {
		return err
	}
	_, err := buf(ctx, "lint")
	return err
}

// generate lints the protos and writes everything made from them below out.
func generate(ctx context.Context, out string) error {
	if err := lint(ctx); err != nil {
		return err
	}
	parts := filepath.Join(out, "bin/openapi")
	if err := os.RemoveAll(parts); err != nil {
		return err
	}
	if _, err := buf(ctx, "generate", "-o", out); err != nil {
		return err
	}
	spec, err := mergeSpec(ctx, parts)
	if err != nil {
		return err
	}
	file := filepath.Join(out, specPath)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, spec, 0o644)
}

// mergeSpec joins the plugin's documents, one for each service, into one.
func mergeSpec(ctx context.Context, dir string) ([]byte, error) {
	image, err := buf(ctx, "build", "api", "-o", "-#format=binpb")
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(image, &set); err != nil {
		return nil, fmt.Errorf("read descriptors: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "aigateway/v1/*.openapi.json"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, errors.New("protoc-gen-openapiv3 wrote nothing")
	}
	slices.Sort(names)
	var parts [][]byte
	for _, name := range names {
		part, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return openapi.Merge(parts, &set)
}

// buf runs bin/buf and returns its output.
func buf(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, bufPath, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("buf %s: %w\n%s%s", args[0], err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), nil
}
