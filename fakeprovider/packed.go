package fakeprovider

import (
	"compress/gzip"
	"net/http"
)

// packedWriter sends an answer in gzip, each flush of it whole.
type packedWriter struct {
	http.ResponseWriter
	zip *gzip.Writer
}

func pack(w http.ResponseWriter) *packedWriter { return &packedWriter{w, gzip.NewWriter(w)} }

func (w *packedWriter) WriteHeader(status int) {
	w.Header().Del("Content-Length")
	w.Header().Set("Content-Encoding", "gzip")
	w.ResponseWriter.WriteHeader(status)
}

func (w *packedWriter) Write(p []byte) (int, error) { return w.zip.Write(p) }

func (w *packedWriter) FlushError() error {
	if err := w.zip.Flush(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *packedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
