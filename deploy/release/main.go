// Command release makes what aigateway is installed from: tarballs, Debian and
// RPM packages, container images with their bills of materials, and checksums.
// `make release` and `make image` run it at the repository's root. The same
// commit gives the same bytes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// release is one run: what is made, of what, into which folder.
type release struct {
	root    string    // of the repository
	out     string    // folder, made if it is not there
	version string    // such as v1.2.3
	time    time.Time // of everything in the artefacts: the commit's
	commit  string    // full hash
	lock    lock
	log     io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, log io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	root := flags.String("root", "../..", "the repository's `folder`")
	out := flags.String("out", "", "`folder` for what is made; by default dist of the repository")
	version := flags.String("version", "", "`version`, such as v1.2.3")
	commit := flags.String("commit", "", "full `hash` of the commit")
	epoch := flags.Int64("epoch", 0, "`seconds` since 1970 of the commit")
	arches := flags.String("arch", "amd64,arm64", "architectures")
	what := flags.String("what", "packages,image", "what is made: packages, image, or both")
	refresh := flags.Bool("refresh", false, "pin what Debian has now, in lock.json, and make nothing")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *refresh {
		return refreshLock(ctx, filepath.Join(*root, lockFile), log)
	}
	if *version == "" || *commit == "" || *epoch <= 0 {
		return errors.New("-version, -commit and -epoch are needed; `make release` gives them")
	}
	r := &release{root: *root, out: *out, version: *version, time: time.Unix(*epoch, 0).UTC(), commit: *commit, log: log}
	if r.out == "" {
		r.out = filepath.Join(*root, "dist")
	}
	var err error
	r.lock, err = readLock(filepath.Join(*root, lockFile))
	if err != nil {
		return err
	}
	return r.make(ctx, strings.Split(*arches, ","), strings.Split(*what, ","))
}

func (r *release) make(ctx context.Context, arches, what []string) error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	var parts []*parts
	for _, arch := range arches {
		p, err := r.collect(ctx, arch)
		if err != nil {
			return err
		}
		parts = append(parts, p)
	}
	if slices.Contains(what, "packages") {
		for _, p := range parts {
			if err := r.packages(p); err != nil {
				return err
			}
		}
	}
	if slices.Contains(what, "image") {
		if err := r.images(ctx, parts); err != nil {
			return err
		}
	}
	if err := r.bills(parts); err != nil {
		return err
	}
	return r.sums()
}

// native reports whether what is made for arch runs here.
func native(arch string) bool { return runtime.GOOS == "linux" && arch == runtime.GOARCH }

func (r *release) notef(format string, args ...any) { fmt.Fprintf(r.log, format+"\n", args...) }
