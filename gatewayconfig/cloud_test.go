package gatewayconfig_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"aigateway/gatewayconfig"
)

const entra = "tenant_id: t, client_id: c, client_secret: long-client-secret"

func TestCloudPresets(t *testing.T) {
	c := mustParse(t, `providers:
  azure: {base_url: 'https://r.openai.azure.com/openai/v1', oauth2: {`+entra+`}}
  bearer: {preset: bedrock, base_url: 'https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1'}
  bedrock: {aws: {region: eu-west-3}}
  bedrock-mantle: {aws: {region: eu-west-3, access_key_id: a, secret_access_key: s}}
  foundry: {base_url: 'https://r.services.ai.azure.com/anthropic/v1', oauth2: {`+entra+`, scopes: [x]}}
  gov: {preset: azure, base_url: 'https://r.openai.azure.us/openai/v1', oauth2: {token_url: 'https://login.microsoftonline.us/t/oauth2/v2.0/token', client_id: c, client_secret: s}}
  keyed: {preset: vertex, base_url: 'https://h/v1', api_key: 'file:/etc/hostname'}
  vertex: {base_url: 'https://h/v1'}
`, "AWS_BEARER_TOKEN_BEDROCK", "b", "GCE_METADATA_HOST", "127.0.0.1:9")
	var got []string
	for _, p := range c.Providers {
		e := p.Endpoints["messages"]
		line := fmt.Sprintf("%s %s %s %s%s %s", p.Name, p.Credential(), p.BaseURL, p.Auth.Header, e.Path, e.Auth.Header)
		if p.OAuth2 != nil {
			line += fmt.Sprint(p.OAuth2.TokenURL, p.OAuth2.Scopes)
		}
		if p.AWS != nil {
			line += p.AWS.Service
		}
		got = append(got, line)
	}
	want := []string{
		"azure oauth2 https://r.openai.azure.com/openai/v1 authorization https://login.microsoftonline.com/t/oauth2/v2.0/token [https://cognitiveservices.azure.com/.default]",
		"bearer key https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1 authorization ",
		"bedrock aws https://bedrock-runtime.eu-west-3.amazonaws.com/openai/v1 authorization bedrock",
		"bedrock-mantle aws https://bedrock-mantle.eu-west-3.api.aws authorization/anthropic/v1/messages authorizationbedrock-mantle",
		"foundry oauth2 https://r.services.ai.azure.com/anthropic/v1 authorization https://login.microsoftonline.com/t/oauth2/v2.0/token [x]",
		"gov oauth2 https://r.openai.azure.us/openai/v1 authorization https://login.microsoftonline.us/t/oauth2/v2.0/token [https://cognitiveservices.azure.com/.default]",
		"keyed key https://h/v1 authorization ",
		"vertex gcp_metadata https://h/v1 authorization ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c.GCPMetadata != "127.0.0.1:9" {
		t.Errorf("the metadata server is %q", c.GCPMetadata)
	}
	if got := mustParse(t, "providers: {vertex: {base_url: 'https://h/v1'}}").GCPMetadata; got != "metadata.google.internal:80" {
		t.Errorf("the metadata server is %q", got)
	}
}

func TestCloudProblems(t *testing.T) {
	for text, want := range map[string]string{
		"azure: {base_url: 'https://h'}":                                                            "providers.azure.api_key: the environment variable AZURE_OPENAI_API_KEY is not set",
		"azure: {base_url: 'https://h', api_key: ''}":                                               "or oauth2: {tenant_id, client_id, client_secret}",
		"azure: {oauth2: {" + entra + "}}":                                                          "such as https://RESOURCE.openai.azure.com/openai/v1",
		"azure: {base_url: 'https://h', api_key: k, oauth2: {" + entra + "}}":                       "providers.azure: has 2 of api_key, oauth2, aws and gcp_metadata",
		"azure: {base_url: 'https://h', auth_header: x, oauth2: {" + entra + "}}":                   "providers.azure.auth_header: is for api_key",
		"azure: {base_url: 'https://h', oauth2: {client_id: c, client_secret: s}}":                  "oauth2.tenant_id: is missing",
		"azure: {base_url: 'https://h', oauth2: {tenant_id: t, client_id: c}}":                      "oauth2.client_secret: is missing",
		"openai: {oauth2: {client_id: c, client_secret: s}}":                                        "oauth2.token_url: is missing, and the preset has none",
		"openai: {oauth2: {token_url: 'http://idp.example.com/t', client_id: c, client_secret: s}}": "the client secret would travel in clear",
		"azure: {base_url: 'https://h', oauth2: {" + entra + ", client_sceret: s}}":                 `unknown key; did you mean "client_secret"?`,
		"bedrock: {api_key: k}":        "base_url: needs a region; write aws: {region: us-east-1}",
		"bedrock: {aws: {region: ''}}": `aws.region: is ""; write the region of base_url`,
		"openai: {api_key: k, base_url: 'https://h/v1', aws: {region: r}}":                                        `aws.service: is ""`,
		"bedrock: {aws: {region: r, access_key_id: a}}":                                                           "aws.secret_access_key: is missing",
		"bedrock: {aws: {region: r, session_token: s}}":                                                           "aws.session_token: belongs to keys",
		"bedrock: {aws: {region: r}, gcp_metadata: true}":                                                         "has 2 of",
		"bedrock: {aws: {region: r}, apis: [chat, messages]}":                                                     "providers.bedrock.apis: holds messages: Bedrock's runtime takes Claude's calls by InvokeModel",
		"vertex: {base_url: 'https://h/v1', apis: [messages]}":                                                    "providers.vertex.apis: holds messages: Vertex takes Claude's calls by rawPredict",
		"vertex: {base_url: 'https://h/v1/projects/p/locations/l/publishers/anthropic/models/claude:rawPredict'}": "is a cloud's own API, with the model in its path",
		"bedrock: {base_url: 'https://h/model/m/invoke-with-response-stream', aws: {region: r}}":                  "is a cloud's own API",
	} {
		_, err := parse(t, "providers: {"+text+"}")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "long-client-secret") {
			t.Errorf("%s: the secret is told: %v", text, err)
		}
	}
	if _, err := parse(t, "providers: {vertex: {base_url: 'https://h/v1'}}", "GCE_METADATA_HOST", "h/x"); err == nil || !strings.Contains(err.Error(), "GCE_METADATA_HOST is") {
		t.Errorf("a metadata host with a path: %v", err)
	}
}

// TestCloudCredentialsChangeInPlace: a client secret is replaced under way; a
// credential that Envoy keeps in a cluster makes another one, so that calls with
// the old one end with it.
func TestCloudCredentialsChangeInPlace(t *testing.T) {
	clusters := func(text string) string {
		var names []string
		for name := range snapshot(t, "127.0.0.1:1", "providers: {p: {"+text+"}}").Resources(resource.ClusterType) {
			if strings.HasPrefix(name, "provider_") {
				names = append(names, name)
			}
		}
		return strings.Join(names, " ")
	}
	azure := "preset: azure, base_url: 'https://h', oauth2: {tenant_id: t, client_id: c, client_secret: "
	bedrock := "preset: bedrock, aws: {region: r, access_key_id: a, secret_access_key: "
	if clusters(azure+"s}") != clusters(azure+"other}") {
		t.Error("another client secret is another cluster")
	}
	for _, other := range []string{"preset: azure, base_url: 'https://h', api_key: k", azure + "s, scopes: [x]}", "preset: azure, base_url: 'https://h', oauth2: {tenant_id: t2, client_id: c, client_secret: s}"} {
		if clusters(azure+"s}") == clusters(other) {
			t.Errorf("%s: the same cluster", other)
		}
	}
	for _, other := range []string{bedrock + "other}", bedrock + "s, session_token: x}", bedrock + "s, service: other}"} {
		if clusters(bedrock+"s}") == clusters(other) {
			t.Errorf("%s: the same cluster", other)
		}
	}
}

// TestCloudSecretsStayWhereTheyAre looks at all that is printable, at what Envoy
// dumps, and at what it says of a configuration that it refuses.
func TestCloudSecretsStayWhereTheyAre(t *testing.T) {
	text := `providers:
  azure: {base_url: 'https://h/openai/v1', oauth2: {` + entra + `}}
  bedrock: {aws: {region: eu-west-3, access_key_id: a, secret_access_key: long-aws-secret, session_token: long-aws-token}}
`
	secrets := []string{"long-client-secret", "long-aws-secret", "long-aws-token"}
	hidden := func(where, text string) {
		t.Helper()
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %s", where, secret)
			}
		}
	}
	c := mustParse(t, text)
	for _, p := range c.Providers {
		hidden("the configuration", fmt.Sprintf("%+v %#v %+v %+v", p, p, p.OAuth2, p.AWS))
	}
	s := snapshot(t, "127.0.0.1:1", text)
	d := startDataPlane(t, s)
	dump, err := d.admin.Get(t.Context(), "/config_dump?include_eds")
	if err != nil || !strings.Contains(string(dump), "aws_request_signing") {
		t.Fatalf("config dump: %v", err)
	}
	hidden("the dump", string(dump))
	for name, r := range s.Resources(resource.ClusterType) {
		if !strings.HasPrefix(name, "provider_bedrock") {
			continue
		}
		bad, ok := proto.Clone(r).(*clusterv3.Cluster)
		if !ok {
			t.Fatalf("%s is %T", name, r)
		}
		bad.Name = "bad"
		bad.TransportSocket = &corev3.TransportSocket{Name: "no.such.socket", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/no.such.Type"}}}
		refused, err := s.WithCluster(bad)
		if err != nil {
			t.Fatal(err)
		}
		var nack gatewayconfig.Nack
		if err := d.server.Apply(t.Context(), refused); !errors.As(err, &nack) {
			t.Fatalf("the refusal: %v", err)
		}
		hidden("the refusal", nack.Error())
	}
}

// TestCloudAPIsAreRefusedWithASentence: the clouds' SDKs call their own APIs.
func TestCloudAPIsAreRefusedWithASentence(t *testing.T) {
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", "providers: {bedrock: {aws: {region: r, access_key_id: a, secret_access_key: s}}, vertex: {base_url: 'http://127.0.0.1:1/v1'}}"))
	for _, call := range []struct{ path, provider, want string }{
		{"/model/anthropic.claude-v2%3A1/invoke-with-response-stream", "bedrock", "are not spoken here; use /v1/chat/completions"},
		{"/v1/projects/p/locations/l/publishers/anthropic/models/claude@20250929:streamRawPredict", "vertex", "are not spoken here"},
		{"/v1/messages", "bedrock", "use the preset bedrock-mantle"},
		{"/v1/messages", "vertex", "by rawPredict"},
	} {
		if code, _, body, err := d.call("POST", call.path, call.provider, "{}"); err != nil || code != 404 || !strings.Contains(body, call.want) {
			t.Errorf("%s: %d %s %v", call.path, code, body, err)
		}
	}
}
