package extauthz_test

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"aigateway/envoy"
	"aigateway/extauthz"
)

// generated reads the same facts from the generated type.
func generated(in *authv3.CheckRequest) extauthz.Facts {
	http := in.GetAttributes().GetRequest().GetHttp()
	f := extauthz.Facts{
		Headers: map[string]extauthz.HeaderFacts{},
		API:     in.GetAttributes().GetContextExtensions()[envoy.ContextAPI],
		Method:  http.GetMethod(),
		Body:    string(http.GetRawBody()),
	}
	if f.Body == "" {
		f.Body = http.GetBody()
	}
	f.Raw = len(http.GetHeaderMap().GetHeaders()) > 0
	for _, name := range extauthz.HeaderNames {
		if v, ok := http.GetHeaders()[name]; ok && !f.Raw {
			f.Headers[name] = extauthz.HeaderFacts{Value: v, N: 1}
		}
	}
	for _, h := range http.GetHeaderMap().GetHeaders() {
		for _, name := range extauthz.HeaderNames {
			if h.GetKey() != name {
				continue
			}
			v := string(h.GetRawValue())
			if v == "" {
				v = h.GetValue()
			}
			f.Headers[name] = extauthz.HeaderFacts{Value: v, N: f.Headers[name].N + 1}
		}
	}
	return f
}

func FuzzCheckCodec(f *testing.F) {
	for _, in := range []*authv3.CheckRequest{
		{},
		newCheck("id", `{"model":"moonshot/kimi-k2.6"}`),
		newCheck("id", `{}`, "x-aig-tag", "a", "x-aig-tag", "b", "authorization", "Bearer x"),
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
		got, err := extauthz.ReadFacts(msg)
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

func TestEncodeOKEqualsGenerated(t *testing.T) {
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
				ok.Headers = append(ok.Headers, header("x-aig-int-edit", "1"))
			}
			want := &authv3.CheckResponse{
				HttpResponse:    &authv3.CheckResponse_OkResponse{OkResponse: ok},
				DynamicMetadata: d.Encode(),
			}
			got := new(authv3.CheckResponse)
			if err := proto.Unmarshal(extauthz.EncodeOK("req-1", "moonshot", d), got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("-generated +encoded:\n%s", diff)
			}
		})
	}
}

func TestDeniedStatusIsTheHTTPStatus(t *testing.T) {
	s := newServer(t, &keyring{}, &fakeLedger{})
	got := check(t, s, newCheck("req-1", `{}`))
	if got.GetDeniedResponse().GetStatus().GetCode() != typev3.StatusCode_Unauthorized || got.GetStatus().GetCode() == 0 {
		t.Errorf("answer without a key: %v", got)
	}
}
