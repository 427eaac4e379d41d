package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the Makefile, such as v1.2.3; empty: what Go stamped.
var version string

// build describes the binary; the JSON names are those of `version -o json`.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // commit, with "+dirty" when the tree had changes
	Time     string `json:"time,omitempty"`     // of the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// buildInfo reads what the Go toolchain stamped into the binary.
func buildInfo() build {
	b := build{Version: cmp.Or(version, "devel"), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; version == "" && v != "" && v != "(devel)" {
		b.Version = v
	}
	dirty := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+dirty"
			}
		}
	}
	if b.Revision != "" {
		b.Revision += dirty
	}
	return b
}

func newVersionCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "version", Short: "Print the version of this binary",
		Example: "  aigateway version -o json",
		Args:    arguments(),
	}
	out := outputFlag(c)
	c.RunE = func(*cobra.Command, []string) error {
		b := buildInfo()
		if out.name != "table" {
			t := &table{columns: []column{left("VERSION"), left("REVISION"), left("TIME"), left("GO"), left("PLATFORM")}}
			t.add(b.Version, b.Revision, b.Time, b.Go, b.Platform)
			return a.print(out, b, t)
		}
		line := fmt.Sprintf("aigateway %s %s %s", b.Version, b.Go, b.Platform)
		if b.Revision != "" {
			line += " " + b.Revision
		}
		_, err := fmt.Fprintln(a.stdout, line)
		return err
	}
	return c
}
