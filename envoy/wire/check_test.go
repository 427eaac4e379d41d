package wire_test

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"aigateway/envoy"
	"aigateway/envoy/wire"
	"aigateway/internal/envoytest"
)

// generated reads the same of the generated type.
func generated(in *authv3.CheckRequest) facts {
	http := in.GetAttributes().GetRequest().GetHttp()
	f := facts{
		Headers: map[string]headerFacts{},
		API:     in.GetAttributes().GetContextExtensions()[envoy.ContextAPI],
		Method:  http.GetMethod(),
		Body:    string(http.GetRawBody()),
	}
	if f.Body == "" {
		f.Body = http.GetBody()
	}
	f.Raw = len(http.GetHeaderMap().GetHeaders()) > 0
	for _, name := range headerNames {
		if v, ok := http.GetHeaders()[name]; ok && !f.Raw {
			f.Headers[name] = headerFacts{v, 1}
		}
	}
	for _, h := range http.GetHeaderMap().GetHeaders() {
		for _, name := range headerNames {
			if h.GetKey() != name {
				continue
			}
			v := string(h.GetRawValue())
			if v == "" {
				v = h.GetValue()
			}
			f.Headers[name] = headerFacts{v, f.Headers[name].N + 1}
		}
	}
	return f
}

// facts is everything that is read of a CheckRequest.
type facts struct {
	Headers map[string]headerFacts
	Raw     bool
	Method  string
	API     string
	Body    string
}

type headerFacts struct {
	Value string
	N     int
}

var headerNames = []string{
	"x-request-id", "authorization", "x-api-key", "x-aig-tag", "content-type", "content-encoding",
	"content-length", "upgrade", "x-envoy-auth-partial-body", "anthropic-beta",
}

// projected reads a CheckRequest as the server does.
func projected(msg []byte) (facts, error) {
	var in wire.Check
	defer in.Release()
	if err := wire.NewCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(msg)}, &in); err != nil {
		return facts{}, err
	}
	f := facts{Headers: map[string]headerFacts{}, Raw: in.Raw, Method: string(in.Method), API: string(in.API), Body: string(in.Body())}
	for _, name := range headerNames {
		if h := in.Headers.At([]byte(name)); h.N > 0 {
			f.Headers[name] = headerFacts{string(h.Value), h.N}
		}
	}
	return f, nil
}

// check is a request with headers one by one.
func check(id, body string, headers ...string) *authv3.CheckRequest {
	h := &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "x-request-id", RawValue: []byte(id)}, {Key: "content-type", RawValue: []byte("application/json")}}}
	for i := 0; i < len(headers); i += 2 {
		h.Headers = append(h.Headers, &corev3.HeaderValue{Key: headers[i], RawValue: []byte(headers[i+1])})
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		ContextExtensions: map[string]string{envoy.ContextAPI: "chat", "other": "x"},
		Request:           &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{Method: "POST", HeaderMap: h, RawBody: []byte(body)}},
	}}
}

func FuzzCheckCodec(f *testing.F) {
	for _, in := range []*authv3.CheckRequest{
		{},
		check("id", `{"model":"moonshot/kimi-k2.6"}`),
		check("id", `{}`, "x-aig-tag", "a", "x-aig-tag", "b", "authorization", "Bearer x"),
		{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Headers: map[string]string{"x-aig-tag": "joined", "x-request-id": "1"}, Body: "text",
		}}}},
		{Attributes: &authv3.AttributeContext{Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			HeaderMap: &corev3.HeaderMap{Headers: []*corev3.HeaderValue{{Key: "x-aig-tag", Value: "v"}, {Key: "x-aig-tag", RawValue: []byte{0xff}}}},
			Headers:   map[string]string{"x-aig-tag": "both"},
		}}}},
	} {
		msg, err := proto.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg, msg)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		msg := append(append([]byte{}, first...), second...) // two messages merge
		var in authv3.CheckRequest
		want := proto.Unmarshal(msg, &in)
		got, err := projected(msg)
		if want != nil {
			return // the projection may be more lenient on what it does not read
		}
		if err != nil {
			t.Fatalf("the projection refuses what protobuf accepts: %v", err)
		}
		if diff := cmp.Diff(generated(&in), got); diff != "" {
			t.Errorf("generated (-) and projected (+) differ:\n%s", diff)
		}
	})
}

// encode is a yes with every kind of header.
func encode(d envoy.Decision) []byte {
	return wire.AppendOK(nil, &d, func(dst []byte) []byte {
		dst = wire.AppendUpstreamHeader(dst, "x-aig-int-upstream", "moonshot")
		if len(d.Edits) > 0 {
			dst = wire.AppendUpstreamHeader(dst, "x-aig-int-edit", envoy.EncodeEdits(d.Edits))
		}
		return wire.AppendClientHeader(dst, "x-aig-request-id", "req-1")
	})
}

func TestAppendOKEqualsGenerated(t *testing.T) {
	long := make([]byte, 70_000) // lengths of one, two and three bytes
	for i := range long {
		long[i] = 'a'
	}
	for name, d := range map[string]envoy.Decision{
		"bare":        {Token: "t"},
		"edits":       {Token: "token", Edits: []envoy.Edit{{At: 10, Del: 5, Ins: `"kimi"`}, {At: 70, Ins: "é"}}, StripUsage: true},
		"long token":  {Token: string(long[:300]), Edits: []envoy.Edit{{Ins: string(long[:120])}}},
		"longer":      {Token: string(long), Edits: []envoy.Edit{{Ins: string(long)}}},
		"empty token": {},
		"anthropic":   {Token: "t", Anthropic: true, Betas: "a,b"},
	} {
		t.Run(name, func(t *testing.T) {
			header := func(k, v string) *corev3.HeaderValueOption {
				return &corev3.HeaderValueOption{
					Header:       &corev3.HeaderValue{Key: k, Value: v},
					AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
				}
			}
			ok := &authv3.OkHttpResponse{
				Headers:              []*corev3.HeaderValueOption{header("x-aig-int-upstream", "moonshot")},
				ResponseHeadersToAdd: []*corev3.HeaderValueOption{header("x-aig-request-id", "req-1")},
			}
			if len(d.Edits) > 0 {
				ok.Headers = append(ok.Headers, header("x-aig-int-edit", envoy.EncodeEdits(d.Edits)))
			}
			want := &authv3.CheckResponse{
				HttpResponse:    &authv3.CheckResponse_OkResponse{OkResponse: ok},
				DynamicMetadata: envoytest.Metadata(d),
			}
			got := new(authv3.CheckResponse)
			if err := proto.Unmarshal(encode(d), got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("-generated +encoded:\n%s", diff)
			}
		})
	}
}
