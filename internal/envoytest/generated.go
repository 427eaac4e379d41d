package envoytest

import (
	"fmt"

	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"aigateway/envoy"
	"aigateway/envoy/wire"
)

// Metadata is a decision as ext_authz dynamic metadata. Its edits travel
// in a header.
func Metadata(d envoy.Decision) *structpb.Struct {
	fields := map[string]*structpb.Value{envoy.KeyToken: structpb.NewStringValue(d.Token)}
	if stream := d.Stream(); stream != "" {
		fields[envoy.KeyStream] = structpb.NewStringValue(stream)
	}
	if d.Anthropic {
		fields[envoy.KeyAnthropic] = structpb.NewBoolValue(true)
	}
	if d.Betas != "" {
		fields[envoy.KeyBetas] = structpb.NewStringValue(d.Betas)
	}
	return &structpb.Struct{Fields: fields}
}

// FromStream reads one entry of the access-log stream by its generated type:
// wire.ReadEntry has to agree with it.
func FromStream(e *logv3.HTTPAccessLogEntry) (envoy.LogLine, error) {
	common, resp := e.GetCommonProperties(), e.GetResponse()
	report, err := DecodeReport(common.GetMetadata().GetFilterMetadata())
	if err != nil {
		return envoy.LogLine{}, fmt.Errorf("access log entry: %w", err)
	}
	return envoy.LogLine{
		Periodic:    common.GetAccessLogType() == logv3.AccessLogType_DownstreamPeriodic,
		RequestID:   e.GetRequest().GetRequestId(),
		Start:       common.GetStartTime().AsTime(),
		Duration:    common.GetDuration().AsDuration(),
		Code:        int(resp.GetResponseCode().GetValue()),
		Flags:       wire.FlagText(common.GetResponseFlags()),
		Details:     resp.GetResponseCodeDetails(),
		Cluster:     common.GetUpstreamCluster(),
		ContentType: resp.GetResponseHeaders()["content-type"],
		Sent:        common.GetTimeToFirstUpstreamTxByte() != nil,
		Report:      report,
	}, nil
}

// DecodeReport reads the filter_metadata of a log entry. Metadata without our
// namespaces is an empty Report; a member of the wrong type is an error, since
// only our own filter writes there. It never retains md.
func DecodeReport(md map[string]*structpb.Struct) (envoy.Report, error) {
	var r envoy.Report
	var err error
	if r.Token, err = member(md, envoy.NamespaceDecision, envoy.KeyToken); err != nil {
		return envoy.Report{}, err
	}
	text, err := member(md, envoy.NamespaceReport, envoy.KeyReport)
	if err != nil {
		return envoy.Report{}, err
	}
	if err := r.Read(text); err != nil {
		return envoy.Report{}, err
	}
	return r, nil
}

func member(md map[string]*structpb.Struct, namespace, name string) (string, error) {
	v := md[namespace].GetFields()[name]
	if v == nil {
		return "", nil
	}
	str, ok := v.GetKind().(*structpb.Value_StringValue)
	if !ok {
		return "", fmt.Errorf("metadata %s.%s: want a string", namespace, name)
	}
	return str.StringValue, nil
}
