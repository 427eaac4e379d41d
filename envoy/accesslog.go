package envoy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// LogLine is one access-log entry: a line of the file log, or an entry of the
// stream. Both channels carry the same facts (FromStream, ParseLogLine).
type LogLine struct {
	// Periodic marks a heartbeat of a call that is still running; only the
	// stream has them.
	Periodic  bool
	RequestID string // empty only for what never became a request
	Start     time.Time
	Duration  time.Duration // until the last byte, at least milliseconds exact
	Code      int           // status the client got; 0 when it got none
	// Flags are Envoy's response flags, comma-separated: "DC", "UF,URX". Empty
	// when nothing unusual happened.
	Flags   string
	Details string // Envoy's response code details: "via_upstream", …
	Cluster string // upstream cluster
	// ContentType is the content-type of the response.
	ContentType string
	// Sent says that a first byte went to the provider. Without it the call
	// cannot have cost anything.
	Sent bool
	Report
}

// Stream reports whether the answer was a stream of server-sent events: by its
// bytes, or, when none came or an older filter saw them, by its content-type.
func (l *LogLine) Stream() bool {
	if l.Framing != "" {
		return l.Framing == FramingEvents
	}
	ct, _, _ := strings.Cut(l.ContentType, ";")
	return strings.EqualFold(strings.TrimSpace(ct), "text/event-stream")
}

// logSchema is the version in every line of the file log; ParseLogLine refuses
// others, so that a file from another release is not half understood.
const logSchema = 3

// logFormat is the json_format of the file log. Envoy omits nothing: an absent
// value is null. It cannot add a checksum, so everything is there twice, but
// the token, which is sealed: a disk that flips a bit in one of the two would
// otherwise change a price unnoticed.
func logFormat() map[string]any {
	return map[string]any{
		"v":    logSchema,
		"call": callFormat(),
		"copy": callFormat(),
		"rsv":  "%DYNAMIC_METADATA(" + NamespaceDecision + ":" + KeyToken + ")%",
	}
}

func callFormat() map[string]any {
	return map[string]any{
		"id":      "%REQ(x-request-id)%",
		"start":   "%START_TIME(%s.%9f)%",
		"ms":      "%DURATION%",
		"code":    "%RESPONSE_CODE%",
		"flags":   "%RESPONSE_FLAGS%",
		"details": "%RESPONSE_CODE_DETAILS%",
		"cluster": "%UPSTREAM_CLUSTER%",
		"type":    "%RESP(content-type)%",
		"tx_us":   "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
		"report":  "%DYNAMIC_METADATA(" + NamespaceReport + ":" + KeyReport + ")%",
	}
}

// fileLine keeps the two copies as they were written: they are compared as text.
type fileLine struct {
	V    int             `json:"v"`
	Call json.RawMessage `json:"call"`
	Copy json.RawMessage `json:"copy"`
	Rsv  json.RawMessage `json:"rsv"`
}

type fileCall struct {
	ID      string `json:"id"`
	Start   string `json:"start"`
	MS      *int64 `json:"ms"`
	Code    int    `json:"code"`
	Flags   string `json:"flags"`
	Details string `json:"details"`
	Cluster string `json:"cluster"`
	Type    string `json:"type"`
	TxUS    *int64 `json:"tx_us"`
	Report  string `json:"report"`
}

// ParseLogLine reads one line of the file log, with or without its newline. A
// line that is torn, foreign, of another schema, or that was damaged since it
// was written is an error; a caller skips it, counts it and lets the
// reservation's deadline decide.
func ParseLogLine(line []byte) (LogLine, error) {
	var f fileLine
	if err := json.Unmarshal(line, &f); err != nil {
		return LogLine{}, fmt.Errorf("parse log line: %w", err)
	}
	if f.V != logSchema {
		return LogLine{}, fmt.Errorf("parse log line: schema %d, want %d", f.V, logSchema)
	}
	if f.Rsv == nil || !bytes.Equal(f.Call, f.Copy) {
		return LogLine{}, errors.New("parse log line: its two copies differ, or the token is missing: it was damaged")
	}
	var c fileCall
	if err := json.Unmarshal(f.Call, &c); err != nil {
		return LogLine{}, fmt.Errorf("parse log line: %w", err)
	}
	var token string
	if err := json.Unmarshal(f.Rsv, &token); err != nil {
		return LogLine{}, fmt.Errorf("parse log line: token: %w", err)
	}
	return c.logLine(token)
}

func (c *fileCall) logLine(token string) (LogLine, error) {
	if c.Code < 0 || c.Code > 999 || c.MS == nil || *c.MS < 0 || *c.MS > maxMS {
		return LogLine{}, errors.New("parse log line: a number is out of range")
	}
	start, err := parseUnix(c.Start)
	if err != nil {
		return LogLine{}, fmt.Errorf("parse log line: start: %w", err)
	}
	l := LogLine{
		RequestID: c.ID, Start: start, Duration: time.Duration(*c.MS) * time.Millisecond,
		Code: c.Code, Flags: c.Flags, Details: c.Details, Cluster: c.Cluster,
		ContentType: c.Type, Sent: c.TxUS != nil, Report: Report{Token: token},
	}
	if c.Flags == "-" {
		l.Flags = ""
	}
	if err := l.Report.Read(c.Report); err != nil {
		return LogLine{}, fmt.Errorf("parse log line: %w", err)
	}
	return l, nil
}

// maxMS bounds a duration in the log to a century, far from int64 nanoseconds.
const maxMS = 100 * 366 * 24 * 3600 * 1000

var errUnixTime = errors.New("want seconds and nanoseconds since 1970")

// parseUnix reads "1764000000.123456789".
func parseUnix(s string) (time.Time, error) {
	sec, frac, ok := strings.Cut(s, ".")
	if !ok || len(sec) == 0 || len(sec) > 11 || len(frac) != 9 {
		return time.Time{}, errUnixTime
	}
	var v [2]int64
	for i, part := range [...]string{sec, frac} {
		for _, c := range []byte(part) {
			if c < '0' || c > '9' {
				return time.Time{}, errUnixTime
			}
			v[i] = v[i]*10 + int64(c-'0')
		}
	}
	return time.Unix(v[0], v[1]).UTC(), nil
}

var tokenMark = []byte(`"` + KeyToken + `":"`)

// PeekToken finds the token text in a line of the file log without parsing the
// line. Nothing a client or provider sends can look like it, because quotes
// inside values are escaped. The token still has to be opened.
func PeekToken(line []byte) ([]byte, bool) {
	_, rest, ok := bytes.Cut(line, tokenMark)
	if !ok {
		return nil, false
	}
	token, _, ok := bytes.Cut(rest, []byte(`"`))
	return token, ok
}
