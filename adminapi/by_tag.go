package adminapi

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
)

// streamByTag answers with the report by tag as one JSON array, written as its
// rows come. The gateway would hold the answer three times over, and would write
// a stream as objects on lines. An answer that breaks off has no closing
// bracket, and its connection is cut.
func (h *rest) streamByTag(w http.ResponseWriter, r *http.Request, authorization string, query url.Values) {
	req := &aigatewayv1.StreamUsageByTagRequest{Month: query.Get("month"), Tag: query.Get("tag")}
	if text := query.Get("limit"); text != "" {
		limit, _ := strconv.ParseInt(text, 10, 32) // readQuery has checked it
		req.Limit = proto.Int32(int32(limit))
	}
	stream, err := h.usage.StreamUsageByTag(metadata.AppendToOutgoingContext(r.Context(), "authorization", authorization), req)
	if err != nil {
		writeError(w, r, errorOf(err))
		return
	}
	part, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		writeError(w, r, errorOf(err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	tellAsOf(w.Header(), part)
	buf := []byte{'['}
	for ; err == nil; part, err = stream.Recv() {
		for _, u := range part.GetUsage() {
			if last := buf[len(buf)-1]; last == '}' {
				buf = append(buf, ',')
			}
			if buf, err = appendTagUsage(buf, u); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
		if _, err := w.Write(buf[:len(buf)-1]); err != nil { // all but the byte that tells whether a comma is due
			return // the client is gone
		}
		buf = append(buf[:0], buf[len(buf)-1])
	}
	if !errors.Is(err, io.EOF) {
		h.log.ErrorContext(r.Context(), "the report by tag broke off", "error", err)
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(append(buf, ']'))
}

// appendTagUsage writes what numbers.Marshal would, in a tenth of the time.
func appendTagUsage(buf []byte, u *aigatewayv1.TagUsage) ([]byte, error) {
	buf, err := jsontext.AppendQuote(append(buf, `{"tag":`...), u.GetTag())
	buf = strconv.AppendInt(append(buf, `,"requests":`...), u.GetRequests(), 10)
	buf = strconv.AppendInt(append(buf, `,"cost_cents":`...), u.GetCostCents(), 10)
	return append(buf, '}'), err
}

// complete is an answer that says how complete it is.
type complete interface {
	GetAsOf() *timestamppb.Timestamp
	GetBehind() []string
}

// tellAsOf says in headers how complete an answer is whose body has no place for it.
func tellAsOf(h http.Header, answer complete) {
	if at := answer.GetAsOf(); at != nil {
		h.Set("X-Aig-As-Of", at.AsTime().Format(time.RFC3339Nano))
	}
	if behind := answer.GetBehind(); len(behind) > 0 {
		h.Set("X-Aig-Behind", strings.Join(behind, ","))
	}
}
