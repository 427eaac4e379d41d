package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"aigateway/internal/protodeps"
)

// breaking compares today's API with the one of a git revision. The revision's
// protos are unpacked beside freshly printed dependencies: those are ignored by
// git, so against the plain revision their imports would not resolve. A
// revision without an API is the time before the first commit of it: nothing
// can break.
func breaking(ctx context.Context, ref string, stdout io.Writer) error {
	if err := haveBuf(); err != nil {
		return err
	}
	if err := protodeps.Print("third_party"); err != nil {
		return err
	}
	if err := exec.CommandContext(ctx, "git", "cat-file", "-e", ref+":api/aigateway").Run(); err != nil {
		if err := exec.CommandContext(ctx, "git", "rev-parse", "--verify", "--quiet", ref+"^{commit}").Run(); err != nil {
			return fmt.Errorf("no revision %s: %w", ref, err)
		}
		fmt.Fprintf(stdout, "%s has no API yet: nothing to compare with\n", ref)
		return nil
	}
	dir, err := os.MkdirTemp("", "breaking")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	archive, err := exec.CommandContext(ctx, "git", "archive", "--format=tar", ref, "api/aigateway", "buf.yaml").Output()
	if err != nil {
		return fmt.Errorf("read %s: %w", ref, err)
	}
	if err := untar(archive, dir); err != nil {
		return err
	}
	if err := protodeps.Print(filepath.Join(dir, "third_party")); err != nil {
		return err
	}
	_, err = buf(ctx, "breaking", "--against", dir)
	return err
}

func untar(archive []byte, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		if err := root.MkdirAll(filepath.Dir(h.Name), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(h.Name, content, 0o644); err != nil {
			return err
		}
	}
}
