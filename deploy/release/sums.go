package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// sums writes SHA256SUMS over every file that is in the release's folder itself,
// for `sha256sum -c`.
func (r *release) sums() error {
	entries, err := os.ReadDir(r.out)
	if err != nil {
		return err
	}
	return r.write("SHA256SUMS", func(w io.Writer) error {
		for _, e := range entries {
			if !e.Type().IsRegular() || e.Name() == "SHA256SUMS" || filepath.Ext(e.Name()) == ".part" {
				continue
			}
			sum, err := fileSum(filepath.Join(r.out, e.Name()))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s  %s\n", sum, e.Name()); err != nil {
				return err
			}
		}
		return nil
	})
}
