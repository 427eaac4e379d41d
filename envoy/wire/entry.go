package wire

import (
	"fmt"
	"time"

	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"aigateway/envoy"
)

// entryReader gathers a LogLine. Fields may come in any order and messages in
// parts, so what needs a whole message is read at the end.
type entryReader struct {
	line            envoy.LogLine
	kind            logv3.AccessLogType
	intermediate    bool
	flags           []byte
	start, duration struct{ seconds, nanos int64 }
	started         bool
	decision, lua   []byte // Structs of our two namespaces
}

// Entry is one entry of the access log stream.
type Entry struct {
	Kind logv3.AccessLogType
	Line envoy.LogLine
}

// ReadEntry reads one of a LogMessage's entries. With an error, only Kind means
// anything.
func ReadEntry(msg []byte) (Entry, error) {
	var r entryReader
	err := eachField(msg, func(f field) error {
		switch {
		case f.typ != protowire.BytesType:
			return nil
		case f.num == entryCommon:
			return eachField(f.bytes, r.common)
		case f.num == entryRequest:
			return eachField(f.bytes, r.request)
		case f.num == entryResponse:
			return eachField(f.bytes, r.response)
		}
		return nil
	})
	if err == nil {
		err = r.finish()
	}
	if err != nil {
		return Entry{Kind: r.kind}, fmt.Errorf("access log entry: %w", err)
	}
	return Entry{r.kind, r.line}, nil
}

func (r *entryReader) common(f field) error {
	switch {
	case f.typ == protowire.VarintType:
		switch f.num {
		case commonIntermediate:
			r.intermediate = f.varint != 0
		case commonType:
			r.kind = logv3.AccessLogType(int32(f.varint))
		}
		return nil
	case f.typ != protowire.BytesType:
		return nil
	}
	switch f.num {
	case commonStart:
		r.started = true
		return readTime(f.bytes, &r.start.seconds, &r.start.nanos)
	case commonDuration:
		return readTime(f.bytes, &r.duration.seconds, &r.duration.nanos)
	case commonFirstTx:
		r.line.Sent = true
	case commonCluster:
		r.line.Cluster = string(f.bytes)
	case commonFlags:
		r.flags = join(r.flags, f.bytes)
	case commonMetadata:
		return eachField(f.bytes, r.metadata)
	}
	return nil
}

func (r *entryReader) metadata(f field) error {
	if f.num != metadataFilter || f.typ != protowire.BytesType {
		return nil
	}
	key, value, err := readPair(f.bytes)
	switch string(key) {
	case envoy.NamespaceDecision:
		r.decision = value
	case envoy.NamespaceReport:
		r.lua = value
	}
	return err
}

func (r *entryReader) request(f field) error {
	if f.num == requestID && f.typ == protowire.BytesType {
		r.line.RequestID = string(f.bytes)
	}
	return nil
}

func (r *entryReader) response(f field) error {
	switch {
	case f.typ != protowire.BytesType:
	case f.num == responseCode: // UInt32Value
		return eachField(f.bytes, func(f field) error {
			if f.num == 1 && f.typ == protowire.VarintType {
				r.line.Code = int(uint32(f.varint))
			}
			return nil
		})
	case f.num == responseDetails:
		r.line.Details = string(f.bytes)
	case f.num == responseHeaders:
		key, value, err := readPair(f.bytes)
		if string(key) == "content-type" {
			r.line.ContentType = string(value)
		}
		return err
	}
	return nil
}

func (r *entryReader) finish() error {
	r.line.Periodic = r.intermediate || r.kind == logv3.AccessLogType_DownstreamPeriodic
	r.line.Start = time.Unix(0, 0).UTC()
	if r.started {
		r.line.Start = (&timestamppb.Timestamp{Seconds: r.start.seconds, Nanos: int32(r.start.nanos)}).AsTime()
	}
	r.line.Duration = (&durationpb.Duration{Seconds: r.duration.seconds, Nanos: int32(r.duration.nanos)}).AsDuration()
	if r.flags != nil { // rare: something unusual happened
		var flags logv3.ResponseFlags
		if err := proto.Unmarshal(r.flags, &flags); err != nil {
			return fmt.Errorf("response flags: %w", err)
		}
		r.line.Flags = FlagText(&flags)
	}
	return r.report()
}

func readTime(msg []byte, seconds, nanos *int64) error {
	return eachField(msg, func(f field) error {
		if f.typ != protowire.VarintType {
			return nil
		}
		switch f.num {
		case 1:
			*seconds = int64(f.varint)
		case 2:
			*nanos = int64(int32(f.varint))
		}
		return nil
	})
}

// report reads the metadata of our two namespaces: a member of the wrong type is
// an error, since only our own filter writes there.
func (r *entryReader) report() error {
	token, err := textOf(r.decision, envoy.KeyToken)
	if err != nil {
		return err
	}
	text, err := textOf(r.lua, envoy.KeyReport)
	if err != nil {
		return err
	}
	r.line.Report = envoy.Report{Token: token}
	return r.line.Report.Read(text)
}

// FlagText is a stream entry's response flags in the file log's short form, in
// Envoy's order.
func FlagText(f *logv3.ResponseFlags) string {
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
