package envoy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
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

// ViaUpstream reports whether Code was the provider's own answer, or our
// replacement of it (see Report.UpstreamStatus), and not one of Envoy's.
func (l *LogLine) ViaUpstream() bool {
	return l.Details == "via_upstream" || l.UpstreamStatus != 0
}

// Cut reports whether the exchange ended other than by its own end: the client
// left, the provider's connection broke, a timer ran out (Envoy sets no flag
// for its longest duration), or Envoy answered itself.
func (l *LogLine) Cut() bool { return l.Flags != "" || l.Details != "via_upstream" }

// Stream reports whether the answer was a stream of server-sent events.
func (l *LogLine) Stream() bool {
	ct, _, _ := strings.Cut(l.ContentType, ";")
	return strings.EqualFold(strings.TrimSpace(ct), "text/event-stream")
}

// logSchema is the version in every line of the file log; ParseLogLine refuses
// others, so that a file from another release is not half understood.
const logSchema = 2

// logFormat is the json_format of the file log. Envoy omits nothing: an absent
// value is null.
func logFormat() map[string]any {
	return map[string]any{
		"v":       logSchema,
		"id":      "%REQ(x-request-id)%",
		"start":   "%START_TIME(%s.%9f)%",
		"ms":      "%DURATION%",
		"code":    "%RESPONSE_CODE%",
		"flags":   "%RESPONSE_FLAGS%",
		"details": "%RESPONSE_CODE_DETAILS%",
		"cluster": "%UPSTREAM_CLUSTER%",
		"type":    "%RESP(content-type)%",
		"tx_us":   "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
		"rsv":     "%DYNAMIC_METADATA(" + NamespaceDecision + ":" + KeyToken + ")%",
		"report":  "%DYNAMIC_METADATA(" + NamespaceReport + ":" + KeyReport + ")%",
	}
}

type fileLine struct {
	V       int    `json:"v"`
	ID      string `json:"id"`
	Start   string `json:"start"`
	MS      *int64 `json:"ms"`
	Code    int    `json:"code"`
	Flags   string `json:"flags"`
	Details string `json:"details"`
	Cluster string `json:"cluster"`
	Type    string `json:"type"`
	TxUS    *int64 `json:"tx_us"`
	Rsv     string `json:"rsv"`
	Report  string `json:"report"`
}

// ParseLogLine reads one line of the file log, with or without its newline. A
// line that is torn, foreign or of another schema is an error; a caller skips
// it, counts it and lets the reservation's deadline decide.
func ParseLogLine(line []byte) (LogLine, error) {
	var f fileLine
	if err := json.Unmarshal(line, &f); err != nil {
		return LogLine{}, fmt.Errorf("parse log line: %w", err)
	}
	if f.V != logSchema {
		return LogLine{}, fmt.Errorf("parse log line: schema %d, want %d", f.V, logSchema)
	}
	if f.Code < 0 || f.Code > 999 || f.MS == nil || *f.MS < 0 || *f.MS > maxMS {
		return LogLine{}, errors.New("parse log line: a number is out of range")
	}
	start, err := parseUnix(f.Start)
	if err != nil {
		return LogLine{}, fmt.Errorf("parse log line: start: %w", err)
	}
	l := LogLine{
		RequestID: f.ID, Start: start, Duration: time.Duration(*f.MS) * time.Millisecond,
		Code: f.Code, Flags: f.Flags, Details: f.Details, Cluster: f.Cluster,
		ContentType: f.Type, Sent: f.TxUS != nil, Report: Report{Token: f.Rsv},
	}
	if f.Flags == "-" {
		l.Flags = ""
	}
	if err := l.Report.Read(f.Report); err != nil {
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

// FromStream reads one entry of the access-log stream.
func FromStream(e *accesslogv3.HTTPAccessLogEntry) (LogLine, error) {
	common, resp := e.GetCommonProperties(), e.GetResponse()
	report, err := DecodeReport(common.GetMetadata().GetFilterMetadata())
	if err != nil {
		return LogLine{}, fmt.Errorf("access log entry: %w", err)
	}
	return LogLine{
		Periodic:    common.GetAccessLogType() == accesslogv3.AccessLogType_DownstreamPeriodic,
		RequestID:   e.GetRequest().GetRequestId(),
		Start:       common.GetStartTime().AsTime(),
		Duration:    common.GetDuration().AsDuration(),
		Code:        int(resp.GetResponseCode().GetValue()),
		Flags:       FlagText(common.GetResponseFlags()),
		Details:     resp.GetResponseCodeDetails(),
		Cluster:     common.GetUpstreamCluster(),
		ContentType: resp.GetResponseHeaders()["content-type"],
		Sent:        common.GetTimeToFirstUpstreamTxByte() != nil,
		Report:      report,
	}, nil
}

// FlagText is a stream entry's response flags in the file log's short form, in
// Envoy's order.
func FlagText(f *accesslogv3.ResponseFlags) string {
	if f == nil {
		return ""
	}
	var b []byte
	for _, flag := range [...]struct {
		set  bool
		name string
	}{
		{f.FailedLocalHealthcheck, "LH"}, {f.NoHealthyUpstream, "UH"}, {f.UpstreamRequestTimeout, "UT"},
		{f.LocalReset, "LR"}, {f.UpstreamRemoteReset, "UR"}, {f.UpstreamConnectionFailure, "UF"},
		{f.UpstreamConnectionTermination, "UC"}, {f.UpstreamOverflow, "UO"}, {f.NoRouteFound, "NR"},
		{f.DelayInjected, "DI"}, {f.FaultInjected, "FI"}, {f.RateLimited, "RL"},
		{f.UnauthorizedDetails != nil, "UAEX"}, {f.RateLimitServiceError, "RLSE"},
		{f.DownstreamConnectionTermination, "DC"}, {f.UpstreamRetryLimitExceeded, "URX"},
		{f.StreamIdleTimeout, "SI"}, {f.InvalidEnvoyRequestHeaders, "IH"}, {f.DownstreamProtocolError, "DPE"},
		{f.UpstreamMaxStreamDurationReached, "UMSDR"}, {f.ResponseFromCacheFilter, "RFCF"},
		{f.NoFilterConfigFound, "NFCF"}, {f.DurationTimeout, "DT"}, {f.UpstreamProtocolError, "UPE"},
		{f.NoClusterFound, "NC"}, {f.OverloadManager, "OM"}, {f.DnsResolutionFailure, "DF"},
		{f.DownstreamRemoteReset, "DR"},
	} {
		if flag.set {
			if len(b) > 0 {
				b = append(b, ',')
			}
			b = append(b, flag.name...)
		}
	}
	return string(b)
}
